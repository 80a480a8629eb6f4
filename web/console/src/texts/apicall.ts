import type { Texts } from '../i18n'

export default {
  title: ['用 API 调用', 'As an API call'],
  about: ['把密钥放进环境变量 HONGYAN_API_KEY；密钥在“API 密钥”页创建，需要 send 权限。', 'Put a key with the scope send into the variable HONGYAN_API_KEY; keys are made on the page “API keys”.'],
  retry: ['因网络问题重试时，请使用同一个 Idempotency-Key，这样不会重复发送。', 'When you try again after a network failure, use the same Idempotency-Key: nothing is sent twice.'],
  language: ['语言', 'Language'],
  open: ['查看 API 调用', 'Show as API call'],
} satisfies Texts
