import type { Texts } from '../i18n'

// What to do in the console about what speaks against a green light. The server's own hints
// name commands; here there is a page for each.
export default {
  green: ['正常', 'Fine'],
  yellow: ['需留意', 'Look'],
  red: ['已停发', 'Not sending'],
  no_secret: ['填写 AppSecret，或改用外部 token / 云托管模式。', 'Give the AppSecret, or choose another token mode.'],
  token_failed: ['查看失败原因；系统会自动重试。', 'See why; it is tried again by itself.'],
  token_died_early: ['多半有其他程序也在获取 token，请让它改从鸿雁获取。', 'Another program probably fetches tokens too; have it ask Hongyan.'],
  callback_not_set_up: ['没有消息推送，就收不到送达回执和用户的授权变化。', 'Without pushes there are no receipts, and no news of what users accept.'],
  callback_silent: ['检查微信后台的消息推送是否已启用，服务器地址能否从公网访问。', 'Check that pushes are on at WeChat and that the address can be reached.'],
  callback_refused: ['核对 Token 与 EncodingAESKey 是否和微信后台一致。', 'Token and EncodingAESKey must be those of WeChat’s console.'],
  templates_stale: ['同步模板。', 'Sync the templates.'],
  many_failures: ['查看失败的消息和原因。', 'See the failed messages and why.'],
  queue_slow: ['看是否有暂停，或提交量超过了发送速率。', 'See whether a pause holds it, or more comes in than the pace lets out.'],
  path_paused: ['查看暂停原因。', 'See why it is paused.'],
  template_paused: ['查看暂停原因。', 'See why it is paused.'],
  toCredentials: ['填写凭据', 'Credentials'],
  toToken: ['查看令牌', 'Token'],
  toCallback: ['消息推送设置', 'Pushes'],
  toTemplates: ['去同步', 'Sync'],
  toFailed: ['失败的消息', 'Failed messages'],
  toQueued: ['排队的消息', 'Queued messages'],
  toPauses: ['查看暂停', 'Pauses'],
} satisfies Texts
