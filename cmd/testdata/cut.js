// Cut is a program that notes when what gopm talks with it by is cut.
const fs = require("fs");
const cut = (what) => fs.appendFileSync("cut", `${Date.now()}000000 ${what}\n`);
process.on("disconnect", () => cut("disconnect"));
process.stdin.on("end", () => cut("end of its standard input")).resume();
setTimeout(() => process.send("ready"), 100);
setInterval(() => {}, 1000);
