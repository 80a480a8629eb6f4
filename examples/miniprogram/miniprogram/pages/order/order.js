const { shopURL, target } = require('../../config')
const { push } = getApp()

Page({
  data: { item: '咖啡豆 500g', price: '¥68.00', state: 'cart', notice: '', canOpenSetting: false, scene: target.scene || '', ids: target.scene ? [] : target },

  onShow() {
    push.init() // fresh scenes and settings before the next tap
  },

  // The tap asks first: any await before it would lose the gesture. With WeChat Pay you may instead ask
  // in the success callback of wx.requestPayment, which counts as a gesture too.
  onPay: push.tap(target, function (event, result) {
    this.show(result)
    return this.order()
  }),

  // <push-subscribe> asks by itself and hands the result over.
  onSubscribed({ detail }) {
    this.show(detail)
  },

  onOpenSetting() {
    return push.openSetting().then(({ mainSwitch }) => this.setData({ canOpenSetting: mainSwitch === false }))
  },

  show({ accepted, rejected, left, error }) {
    const limit = left.filter(({ reason }) => reason === 'limit').length
    let notice = '暂时不需要订阅'
    if (error) notice = error.hint.zh
    else if (accepted.length) notice = '订单有进展时会通知你' + (limit ? `，另有 ${limit} 项下次再问` : '')
    else if (rejected.length) notice = '没有订阅，可在订单页随时开启'
    this.setData({ notice, canOpenSetting: !!error && error.code === 'main_switch_off' })
  },

  // What the shop does with an order is the shop's business; ours asks Hongyan to send the card.
  order() {
    this.setData({ state: 'paying' })
    return login()
      .then((code) => request(shopURL + '/orders', { item: this.data.item, price: this.data.price, code }))
      .then(({ status }) => this.setData({ state: status === 'accepted' || status === 'delivered' ? 'sent' : 'paid' }))
      .catch(({ errMsg }) => this.setData({ state: 'cart', notice: '下单失败：' + errMsg }))
  },
})

function login() {
  return new Promise((resolve, reject) => wx.login({ success: ({ code }) => resolve(code), fail: reject }))
}

function request(url, data) {
  return new Promise((resolve, reject) =>
    wx.request({
      url,
      method: 'POST',
      data,
      success: ({ statusCode, data: answer }) => (statusCode === 200 ? resolve(answer) : reject({ errMsg: 'HTTP ' + statusCode })),
      fail: reject,
    }),
  )
}
