// One of the peers. All show the count, on a page; who leads counts. Who that is says ELECTION, one of the two files beside this.
const fs = require('fs');
const http = require('http');
const os = require('os');
const consul = require('./consul');
const elect = require(process.env.ELECTION);

const { GOPM_NODE, NODE_APP_INSTANCE, PAUSE, PORT, name } = process.env;
const me = `gopm:${GOPM_NODE || os.hostname()}:${name}:${NODE_APP_INSTANCE}`; // as gopm has registered it
const page = fs.readFileSync(`${__dirname}/page.html`);

let term = 0; // in which this one leads; each leader has a greater one than those before. 0: it doesn't lead
let seen = { count: 0, leader: '', term: 0 };
let members = [];

async function count() {
  const old = await consul.read();
  if (old.term > term) {
    console.error(`term ${term} is over, it is ${old.term}: ${old.leader} leads`);
    term = 0;
    return;
  }
  const next = { count: old.count + 1, leader: me, term };
  if (await consul.write(next, old.index)) console.log(`${next.count} (term ${term})`);
}

async function forever() {
  for (;;) {
    if (term > 0) await count().catch((err) => console.error(err.message));
    await consul.pause(PAUSE);
  }
}

consul.watch((record) => (seen = record));
consul.present((all) => (members = all));
elect(me, (now) => (term = now));
forever();

http.createServer((req, res) => {
  if (req.url === '/') return res.setHeader('Content-Type', 'text/html').end(page);
  const { count, leader } = seen;
  res.setHeader('Content-Type', 'application/json').end(JSON.stringify({ me, leads: term > 0, count, leader, term: seen.term, members }) + '\n');
}).listen(PORT, '127.0.0.1');
