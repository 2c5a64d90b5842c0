// The synchronous face: POST /api/branch and /api/report are published for the workers, and
// the client's connection is held until one of them has replied.
//   200 …  what the worker says     408  nobody has replied in time     422  not JSON
//   503    not taken, the broker isn't there or hasn't confirmed it: ask again
const http = require('http');
const { randomUUID } = require('crypto');
const { connected } = require('./broker');

const timeout = process.env.REPLY_TIMEOUT * 1000;
const waiting = new Map(); // correlation id → the response, and its timer
let channel;               // while there is a connection

// The replies to this process come into a queue of its own, which is gone with it. It keeps
// its name over a restart of the broker: what is replied afterwards still arrives.
const replies = `reply.${process.env.NODE_APP_INSTANCE}.${process.pid}`;

connected(async fresh => {
  await fresh.assertQueue(replies, { exclusive: true, durable: false });
  await fresh.consume(replies, reply => {
    if (reply) finish(reply.properties.correlationId, reply.properties.headers.status, reply.content);
  }, { noAck: true });
  fresh.on('close', () => { channel = undefined; });
  channel = fresh;
  // Not before there is a broker: what comes in before waits in the port's queue, and isn't turned away.
  if (!server.listening) server.listen(process.env.PORT, '127.0.0.1');
});

function finish(id, status, body) {
  const one = waiting.get(id);
  if (!one) return; // too late: it had its 408, or the client is gone
  waiting.delete(id);
  clearTimeout(one.timer);
  one.res.writeHead(status, { 'Content-Type': 'application/json', 'X-Pid': process.pid }).end(body);
}

function take(kind, body, res) {
  const id = randomUUID();
  const say = (status, error) => finish(id, status, JSON.stringify({ error }));
  waiting.set(id, { res, timer: setTimeout(say, timeout, 408, 'no reply in time') });
  res.on('close', () => { clearTimeout(waiting.get(id)?.timer); waiting.delete(id); });
  try {
    JSON.parse(body);
  } catch (err) {
    return say(422, err.message);
  }
  try {
    // Nobody waits for it after the timeout: the broker needn't give it to a worker any more then.
    channel.publish('syncws', kind, body,
      { persistent: true, correlationId: id, replyTo: replies, expiration: timeout, contentType: 'application/json' },
      err => { if (err) say(503, 'not confirmed by the broker'); });
  } catch {
    say(503, 'no broker'); // there is no channel, or one that is just being closed
  }
}

const server = http.createServer((req, res) => {
  if (req.url === '/health') return res.writeHead(channel ? 200 : 503).end(channel ? 'ok' : 'no broker');
  const kind = /^\/api\/(branch|report)$/.exec(req.url)?.[1];
  if (!kind || req.method !== 'POST') return res.writeHead(404).end('POST /api/branch or /api/report');
  const parts = [];
  req.on('data', part => parts.push(part)).on('end', () => take(kind, Buffer.concat(parts), res));
});
