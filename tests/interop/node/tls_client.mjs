// A WebSocket client over TLS that trusts whom its environment says (NODE_EXTRA_CA_CERTS). It opens URL, sends a word
// and tells what it sees, one JSON object per line, until the connection has ended.
import WebSocket from 'ws'

const [url] = process.argv.slice(2)
const tell = (told) => process.stdout.write(JSON.stringify(told) + '\n')

const socket = new WebSocket(url)
socket.on('open', () => {
  tell({ event: 'open', protocol: socket._socket.getProtocol(), authorized: socket._socket.authorized })
  socket._socket.on('error', (error) => tell({ event: 'socket error', code: error.code }))  // ws keeps it to itself
  socket.send('a word')
})
socket.on('message', (data) => tell({ event: 'message', text: data.toString() }))
socket.on('error', (error) => tell({ event: 'error', code: error.code ?? '', message: error.message }))
socket.on('close', (code) => tell({ event: 'close', code }))
