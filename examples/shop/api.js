// POST /orders puts an order into the queue, GET /sold says how many were served. POST /break makes this process
// unhealthy, and POST /mend healthy again.
'use strict';
const http = require('http');
const net = require('net');

// redis sends one command, and gives its answer as text.
function redis(...words) {
  return new Promise((resolve, reject) => {
    const c = net.connect(Number(process.env.REDIS_PORT), '127.0.0.1');
    let text = '';
    c.on('error', reject);
    c.on('data', (part) => {
      text += part;
      const lines = text.split('\r\n');
      if (lines.length < (text[0] === '$' && text[1] !== '-' ? 3 : 2)) return;
      c.end();
      if (text[0] === '-') reject(new Error(lines[0]));
      else resolve(text[0] === '$' ? lines[1] : lines[0].slice(1));
    });
    c.write(`*${words.length}\r\n` + words.map((w) => `$${Buffer.byteLength(w)}\r\n${w}\r\n`).join(''));
  });
}

let broken = false;
const routes = {
  'GET /health': async () => { if (broken) throw new Error('broken on purpose'); await redis('ping'); return 'well'; },
  'GET /sold': () => redis('get', 'sold'),
  'POST /orders': () => redis('rpush', 'orders', 'apples'),
  'POST /break': () => { broken = true; return `${process.pid} is broken`; },
  'POST /mend': () => { broken = false; return `${process.pid} is mended`; },
};

const server = http.createServer(async (req, res) => {
  const route = routes[`${req.method} ${req.url}`];
  try {
    res.statusCode = route ? 200 : 404;
    res.end(route ? `${await route()}\n` : 'there is no such thing\n');
  } catch (err) {
    res.statusCode = 503;
    res.end(`${err.message}\n`);
  }
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`api listens, pid ${process.pid}`));
process.on('SIGINT', () => server.close(() => process.exit(0)));
