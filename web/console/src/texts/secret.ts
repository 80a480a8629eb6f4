import type { Texts } from '../i18n'

export default {
  once: ['关闭后无法再次查看；丢失只能重新生成。', 'It cannot be seen again after this; if it is lost, make a new one.'],
  kept: ['我已保存', 'I have kept it'],
} satisfies Texts
