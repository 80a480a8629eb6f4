import type { Texts } from '../i18n'

export default {
  choose: ['选择发给 {to} 的消息 {id}', 'Choose message {id} to {to}'],
  chooseAll: ['选择已读取的全部可取消消息', 'Choose all loaded messages that can be canceled'],
  chosen: ['已选 {n} 条', '{n} message chosen | {n} messages chosen'],
  none: ['清除选择', 'Choose none'],
  cancel: ['取消所选', 'Cancel the chosen'],
  ask: ['取消 {n} 条消息？', 'Cancel {n} message? | Cancel {n} messages?'],
  askText: ['它们不会再下发，占用的授权次数会退回。取消后不能恢复。', 'They will not be sent; the grants they hold are returned. This cannot be undone.'],
  yes: ['取消这 {n} 条消息', 'Cancel {n} message | Cancel {n} messages'],
  progress: ['正在取消：{done} / {all}', 'Canceling: {done} of {all}'],
  stop: ['停止', 'Stop'],
  close: ['知道了', 'Dismiss'],
  canceled: ['已取消 {n} 条', '{n} canceled | {n} canceled'],
  uncertain: ['{n} 条不再重发，但之前一次尝试结果不明，请核对', '{n} is not sent again, but an earlier attempt is unclear: settle it | {n} are not sent again, but an earlier attempt is unclear: settle them'],
  gone: ['{n} 条已发出或已结束，未取消', '{n} had gone out or ended already | {n} had gone out or ended already'],
  failed: ['{n} 条取消失败', '{n} failed | {n} failed'],
  left: ['其余 {n} 条未处理', '{n} left as it was | {n} left as they were'],
} satisfies Texts
