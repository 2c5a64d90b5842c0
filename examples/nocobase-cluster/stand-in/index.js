// In the place of NocoBase: it needs what that needs. It is healthy when its database is migrated, keeps a cache in
// Redis, and knows no lock adapter but the one in memory: with another it stays up and unhealthy.
const http = require('http');
const { connect } = require('./connect');
const { APP_PORT, DB_HOST, DB_PORT, CACHE_REDIS_URL, LOCK_ADAPTER_DEFAULT = 'local' } = process.env;

async function main() {
  const database = connect(DB_PORT, DB_HOST);
  const redis = connect(new URL(CACHE_REDIS_URL).port, new URL(CACHE_REDIS_URL).hostname);
  let unwell = 'starting';
  http.createServer(async (req, res) => {
    res.setHeader('X-Node', `${APP_PORT}/${process.pid}`);
    if (unwell) return res.writeHead(503).end(unwell);
    if (req.url === '/api/__health_check') return res.end('ok');
    if (req.method === 'POST') await database.query({ insert: 'notes', row: req.url });
    // Whoever is the first asks the database, all others have the answer of Redis for a second.
    const key = 'notes:' + Math.floor(Date.now() / 1000);
    const notes = JSON.stringify(await database.query({ select: 'notes' }));
    const made = await redis.ask(`SET ${key} ${Buffer.from(notes).toString('base64')} NX EX 5`);
    res.setHeader('X-Cache', made === '+OK' ? 'made' : 'found');
    res.end(notes);
  }).listen(APP_PORT, '127.0.0.1');
  const done = await database.query({ select: 'migrations' });
  if (!done.length) throw new Error('the database is not migrated');
  unwell = LOCK_ADAPTER_DEFAULT === 'local' ? '' : `Lock adapter "${LOCK_ADAPTER_DEFAULT}" not registered`;
  console.log(unwell || 'app has been started');
}

main();
