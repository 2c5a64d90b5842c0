#!/usr/bin/env node
// A program that talks with its parent as node's programs do. What it is told on standard input it does; SIGUSR2 makes
// it say that it is ready, and write a file when it has.
'use strict'
const fs = require('fs')
const net = require('net')
const readline = require('readline')

const say = (...words) => console.log(...words)
const does = {
  ready: () => process.send('ready'),
  big: (size) => process.send('x'.repeat(Number(size)), () => say('sent', size)),
  many: (count) => { for (let i = 0; i < Number(count); i++) process.send({ number: i }) },
  socket: () => {
    const server = net.createServer()
    server.listen(0, '127.0.0.1', () => process.send('take this', server, () => { server.close(); process.send('ready') }))
  },
  leave: () => process.disconnect(),
}

say('begins', Boolean(process.send), process.env.NOTIFY_SOCKET !== undefined)
process.on('message', (m) => {
  say('message', m)
  if (m === 'shutdown') process.exit(0)
})
process.on('disconnect', () => say('disconnected'))
process.on('SIGUSR2', () => process.send('ready', () => fs.writeFileSync('told', 'ready')))
process.on('SIGINT', () => { say('interrupted'); process.exit(0) })
readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    say('line', line)
    const [word, value] = line.split(' ')
    if (does[word]) does[word](value)
  })
  .on('close', () => say('end of input'))
setInterval(() => {}, 1000)
if (process.argv.includes('-ready')) does.ready()
