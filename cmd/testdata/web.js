// The test server of web/main.go for node: the same arguments, the same answers. It knows nothing of any process manager.
'use strict';
const fs = require('fs');
const http = require('http');

const flags = { boot: 0, account: false, graceful: false };
const addresses = [];
const args = process.argv.slice(2);
while (args.length > 0) {
  const arg = args.shift();
  if (arg === '-boot-ms') flags.boot = Number(args.shift());
  else if (arg === '-account') flags.account = true;
  else if (arg === '-graceful') flags.graceful = true;
  else addresses.push(arg);
}
if (addresses.length === 0) addresses.push(process.env.PORT);

const say = (id, what) => { if (flags.account) console.log(id + ' ' + what); };

function answer(req, res) {
  const id = req.headers['x-id'] || '';
  const url = new URL(req.url, 'http://localhost');
  const ms = Number(url.searchParams.get('ms'));
  const first = String(process.pid);
  const rest = ' ' + id + '\n';
  say(id, 'begin');
  res.on('finish', () => say(id, 'end'));
  res.writeHead(200, { 'X-Pid': first, 'X-Id': id, 'Content-Length': first.length + rest.length });
  if (url.pathname === '/hang') for (;;);
  if (url.pathname === '/slow') {
    setTimeout(() => res.end(first + rest), ms);
  } else if (url.pathname === '/pause') {
    res.write(first);
    setTimeout(() => res.end(rest), ms);
  } else {
    res.end(first + rest);
  }
}

function listen(address) {
  const server = http.createServer(answer);
  server.keepAliveTimeout = 60000;
  const said = () => console.log('listening on', address);
  const host = address.match(/^\[?(.*?)\]?:(\d+)$/);
  if (address.startsWith('fd:')) server.listen({ fd: Number(address.slice(3)) }, said);
  else if (address.includes('/')) {
    fs.rmSync(address, { force: true }); // of a process that was killed
    server.listen(address, said);
  }
  else if (host) server.listen(Number(host[2]), host[1] || undefined, said);
  else server.listen(Number(address), said);
  return server;
}

setTimeout(() => {
  const servers = addresses.map(listen);
  if (!flags.graceful) return; // the signals' defaults
  const end = () => servers.forEach((s) => { s.close(); s.closeIdleConnections(); });
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}, flags.boot);
