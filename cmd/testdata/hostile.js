// A program that misuses node's channel to gopm, for a while; then it writes the file ipc.done and stays.
const fs = require("fs"), net = require("net"), fd = 3; // the channel: node has taken its number out of the environment
const until = Date.now() + 1000 * Number(process.env.SECONDS_OF_IT || 1);
const server = net.createServer(() => {}).listen(0, "127.0.0.1", () => {
  try { process.send("with a handle", server); } catch (e) { console.log(String(e)); }
  const pieces = [
    Buffer.from('{"a":'), Buffer.from("\x00\xff\xfe garbage \n"), Buffer.from('{"cmd":"NODE_HANDLE","type":"net.Server"}\n'.repeat(400)),
    Buffer.from('{"huge":"' + "x".repeat(200000) + '"}\n'), Buffer.from("[".repeat(15000) + "\n"), Buffer.from("\n".repeat(16000)), Buffer.from('"ready'),
  ];
  let bytes = 0;
  for (let i = 0; Date.now() < until; i++) {
    try { bytes += fs.writeSync(fd, pieces[i % pieces.length]); } catch (e) { if (e.code !== "EAGAIN") throw e; }
  }
  console.log("bytes", bytes);
  fs.writeFileSync("ipc.done", String(process.pid));
});
setInterval(() => {}, 60000);
