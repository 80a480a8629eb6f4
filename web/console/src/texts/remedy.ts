import type { Texts } from '../i18n'

export default {
  ip: ['需要加入白名单的 IP：', 'The IP to whitelist:'],
  ip1: ['打开 mp.weixin.qq.com，用管理员微信扫码登录。', 'Open mp.weixin.qq.com and sign in as the app’s administrator.'],
  ip2: ['管理 → 开发管理 → 开发设置 → IP 白名单，添加上面的 IP。', '管理 → 开发管理 → 开发设置 → IP白名单: add the IP above.'],
  ip3: ['等几分钟生效，然后回到这里再试一次，填写的内容还在。', 'Wait some minutes, then try again here; what you typed stays.'],
  secret1: ['检查 AppSecret 是否复制完整：32 位，由数字和小写字母组成。', 'See that the AppSecret is whole: 32 digits and lower-case letters.'],
  secret2: ['在 mp.weixin.qq.com → 管理 → 开发管理 → 开发设置 → 开发者 ID 中重置后，使用新的 AppSecret。', 'Or reset it at mp.weixin.qq.com → 管理 → 开发管理 → 开发设置 → 开发者 ID and use the new one.'],
  appid1: ['检查 AppID：以 wx 开头，共 18 位，区分大小写。', 'See that the AppID is right: wx and 16 more characters, case-sensitive.'],
  appid2: ['它必须是小程序的 AppID，不是公众号或开放平台的。', 'It must be that of a mini program, not of an official account.'],
  frozen1: ['AppSecret 已被冻结：在 mp.weixin.qq.com 的开发设置中解冻。', 'The AppSecret is frozen: thaw it at mp.weixin.qq.com, 开发设置.'],
} satisfies Texts
