// Builds public/index.html of the files in assets, then waits: gopm restarts it when one of them changes.
'use strict';
const fs = require('fs');
const path = require('path');

const parts = fs.readdirSync(path.join(__dirname, 'assets')).sort();
const page = parts.map((name) => fs.readFileSync(path.join(__dirname, 'assets', name), 'utf8')).join('');
fs.mkdirSync(path.join(__dirname, 'public'), { recursive: true });
fs.writeFileSync(path.join(__dirname, 'public', '.new'), page);
fs.renameSync(path.join(__dirname, 'public', '.new'), path.join(__dirname, 'public', 'index.html'));
console.log(`built of ${parts.length} files`);
setInterval(() => {}, 1 << 30);
