// The node program of the bench's clusters: it answers with its pid, at once or after /slow?ms=50. It has no signal handlers
// and knows nothing of any manager.
//
//   node server.js STAMPS TAG PORT [MS]   "fd" as PORT: descriptor 3 is a listening socket; MS: a pause before it listens
//   node server.js STAMPS TAG PORT -2     as the primary of two workers of node's own cluster
'use strict';
const cluster = require('cluster');
const fs = require('fs');
const http = require('http');

const [stamps, tag, port, ms] = process.argv.slice(2);
const pid = String(process.pid);

function answer(req, res) {
  const id = req.headers['x-id'] || '';
  const body = pid + ' ' + id + '\n';
  const send = () => {
    res.writeHead(200, { 'X-Pid': pid, 'X-Id': id, 'Content-Length': body.length });
    res.end(body);
  };
  const slow = /^\/slow\?ms=(\d+)/.exec(req.url);
  if (slow) setTimeout(send, Number(slow[1]));
  else send();
}

if (cluster.isPrimary && ms === '-2') {
  cluster.fork();
  cluster.fork();
  cluster.on('exit', () => cluster.fork());
} else {
  fs.appendFileSync(stamps, `start ${tag} ${pid} ${process.hrtime.bigint()}\n`);
  const server = http.createServer(answer);
  server.keepAliveTimeout = 60000;
  setTimeout(() => {
    if (port === 'fd') server.listen({ fd: 3 });
    else server.listen(Number(port), '127.0.0.1');
  }, Math.max(ms || 0, 0));
}
