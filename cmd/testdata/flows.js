// A program that must be told that it is active, as an editor of flows that is started with --safe. It answers on its
// one port; POST /flows/state with {"state": "start"} makes it active, "stop" the opposite. It refuses while there is
// the file that its second argument and its number name.
'use strict';
const fs = require('fs');
const http = require('http');

const [port, refuse] = process.argv.slice(2);
let state = 'safe';
http.createServer((req, res) => {
  if (req.url !== '/flows/state') {
    res.end(process.pid + ' ' + state + '\n');
    return;
  }
  let body = '';
  req.on('data', (part) => { body += part; });
  req.on('end', () => {
    if (refuse && fs.existsSync(refuse + process.env.NODE_APP_INSTANCE)) {
      res.writeHead(500);
      res.end('not now');
      return;
    }
    state = JSON.parse(body).state;
    console.log(state + ' ' + Date.now());
    res.end('{"state": "' + state + '"}\n');
  });
}).listen(Number(port), '127.0.0.1');
