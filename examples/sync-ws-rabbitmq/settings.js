// Node-RED as a worker: without its editor and web server, and nothing is written here.
module.exports = {
  flowFile: 'flows.json',
  credentialSecret: false,
  readOnly: true,
  httpAdminRoot: false,
  httpNodeRoot: false,
  functionGlobalContext: { broker: require('./broker') },
};
