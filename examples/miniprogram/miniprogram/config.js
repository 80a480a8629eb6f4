// 改成你自己的：小程序的 AppID、鸿雁的公开地址、店铺后端的地址，以及要请求的场景或模板 id。
// Yours: the AppID, where phones reach Hongyan, your shop's back end, and the scene or template ids to ask for.
module.exports = {
  appId: 'wx0123456789abcdef',
  baseURL: 'http://127.0.0.1:8420',
  shopURL: 'http://127.0.0.1:8500',
  target: { scene: 'order_paid' },
}
