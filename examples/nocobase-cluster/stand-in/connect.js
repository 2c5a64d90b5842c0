const net = require('net'), readline = require('readline');

// connect has one request per line answered by one line, as Redis and our database do it.
exports.connect = function (port, host) {
  const socket = net.connect(port, host), answers = [];
  readline.createInterface({ input: socket }).on('line', (line) => answers.shift()(line));
  socket.on('error', (e) => { throw e; });
  const ask = (line) => new Promise((answer) => { answers.push(answer); socket.write(line + '\r\n'); });
  return { ask, query: async (q) => JSON.parse(await ask(JSON.stringify(q))), end: () => socket.end() };
};
