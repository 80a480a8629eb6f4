import type { Texts } from '../i18n'

export default {
  title: ['登录', 'Sign in'],
  lead: ['小程序订阅消息，从订阅到送达', 'Mini Program subscription messages, from the tap to the card'],
  name: ['用户名', 'Name'],
  password: ['密码', 'Password'],
  passwordAgain: ['再输入一次密码', 'The password again'],
  passwordRule: ['至少 10 个字符', 'At least 10 characters'],
  differ: ['两次输入的密码不一致', 'The two passwords differ'],
  signIn: ['登录', 'Sign in'],
  over: ['登录已过期，请重新登录。', 'Your session is over; please sign in again.'],
  firstRun: ['还没有管理员：请打开服务器日志中的一次性链接来创建。', 'There is no owner yet: open the one-time link in the server’s log to become it.'],
  setup: ['创建管理员', 'Become the owner'],
  setupLead: ['这个链接只能用一次。创建后会自动登录。', 'The link works once. You are signed in afterwards.'],
  create: ['创建并登录', 'Create and sign in'],
  reset: ['设置新密码', 'Set a new password'],
  resetLead: ['为 {name} 设置密码。设置后会自动登录，其他设备上的登录会失效。', 'For {name}. You are signed in afterwards; sessions on other devices end.'],
  resetDo: ['保存并登录', 'Save and sign in'],
  link: ['一次性链接', 'One-time link'],
  toSignIn: ['前往登录', 'To the sign-in'],
  noToken: ['链接不完整：请重新复制整个链接。', 'The link is not whole: copy all of it again.'],
} satisfies Texts
