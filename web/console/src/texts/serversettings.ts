import type { Texts } from '../i18n'

export default {
  how: [
    '这里只能查看。要修改：用启动参数（如 --log-level debug）、环境变量（如 HONGYAN_LOG_LEVEL），或 YAML 配置文件中的键（如 log_level），然后重启服务。每项的详细说明在 docs/config.md。',
    'To read only. To change one: a flag at the start (such as --log-level debug), an environment variable (HONGYAN_LOG_LEVEL), or a key of the YAML file (log_level); then restart the server. docs/config.md has the reference.',
  ],
  caption: ['服务器设置', 'Settings of the server'],
  filter: ['按名称、值或说明筛选', 'Filter by name, value or meaning'],
  given: ['只看非默认来源', 'Only those somebody set'],
  key: ['设置', 'Setting'],
  value: ['当前值', 'In force'],
  origin: ['来源', 'From'],
  help: ['说明', 'What it means'],
  default: ['默认值', 'Default'],
  flag: ['启动参数', 'Flag'],
  program: ['启动它的程序', 'The program'],
  secret: ['已设置，内容不显示', 'Set; never shown'],
  unset: ['未设置', 'Not set'],
  noMatch: ['没有符合的设置', 'No setting matches'],
} satisfies Texts
