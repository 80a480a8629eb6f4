const { createPush } = require('./hongyan/index')
const { appId, baseURL } = require('./config')

const push = createPush({ appId, baseURL })

App({
  push, // <push-subscribe> and the pages find it here

  onLaunch() {
    push.on('error', ({ code, message }) => console.warn('hongyan', code, message))
    push.on('dropped', ({ report, reason }) => console.warn('hongyan dropped', report.id, reason))
    push.init()
  },
})
