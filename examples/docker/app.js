// An ordinary server, which knows nothing of gopm.
const http = require('http');

const server = http.createServer((req, res) => {
  console.log(`${req.method} ${req.url}`);
  res.end(`hello from pid ${process.pid}\n`);
});
server.listen(process.env.PORT || 3000);

// What is under way is answered, then it ends.
process.on('SIGTERM', () => server.close());
process.on('SIGINT', () => server.close());
