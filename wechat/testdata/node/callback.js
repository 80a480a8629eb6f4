'use strict'

// Makes and opens event pushes with an implementation that is not ours. Standard input names
// the keys, messages to encrypt and pushes to open; standard output has what came of them.
const { readFileSync } = require('node:fs')
const { decrypt, encrypt, getSignature } = require('@wecom/crypto')

const { token, aesKey, appID, timestamp, nonce, messages, pushes } = JSON.parse(readFileSync(0, 'utf8'))

const sealed = messages.map((message) => {
  const text = encrypt(aesKey, message, appID)
  return { encrypt: text, signature: getSignature(token, timestamp, nonce, text) }
})
const opened = pushes.map((push) => {
  const { message, id } = decrypt(aesKey, push.encrypt)
  return { message, id, signature: getSignature(token, push.timestamp, push.nonce, push.encrypt) }
})
process.stdout.write(JSON.stringify({ sealed, opened }))
