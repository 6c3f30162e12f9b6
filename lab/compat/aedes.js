// Serves MQTT on a port of 127.0.0.1 by aedes, as its documentation says. Usage: node aedes.js PORT, with NODE_PATH.
'use strict'
const { Aedes } = require('aedes')
const net = require('node:net')

Aedes.createBroker().then(broker => net.createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1'))
