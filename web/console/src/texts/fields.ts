import type { Texts } from '../i18n'

export default {
  thing: ['事物', 'Text'],
  number: ['数字', 'Number'],
  letter: ['字母', 'Letters'],
  symbol: ['符号', 'Symbols'],
  character_string: ['字符串', 'String'],
  time: ['时间', 'Time'],
  date: ['日期', 'Date'],
  amount: ['金额', 'Amount'],
  phone_number: ['电话', 'Phone number'],
  car_number: ['车牌', 'Licence plate'],
  name: ['姓名', 'Name'],
  phrase: ['汉字', 'Chinese word'],
  enum_string: ['枚举值', 'Choice'],
  one_time: ['一次性订阅', 'One-time'],
  long_term: ['长期订阅', 'Long-term'],
  unknown: ['类型未知', 'Kind unknown'],
  error: ['错误', 'Error'],
  warning: ['提醒', 'Warning'],
  empty: ['不能为空。', 'It must not be empty.'],
  missing: ['不能为空。', 'It must not be empty.'],
  too_long: ['太长了。', 'It is too long.'],
  newline: ['不能换行。', 'It must be one line.'],
  line_separator: ['不能换行。', 'It must be one line.'],
  control_character: ['含有看不见的控制字符。', 'It has a control character in it.'],
  not_han: ['只能是汉字，不能有“{char}”。', 'Chinese characters only, not “{char}”.'],
  not_in_enum: ['不是模板给出的可选值。', 'It is none of the template’s choices.'],
  not_numeric: ['不是数字：“{char}”。', 'It is no number: “{char}”.'],
  impossible_date: ['没有这样的日期。', 'There is no such date.'],
  impossible_time: ['没有这样的时间。', 'There is no such time.'],
  charset: ['“{char}”可能不被接受。', '“{char}” may be refused.'],
  format: ['这种写法可能不被接受。', 'This way of writing it may be refused.'],
  mis_encoded: ['含有乱码。', 'It looks wrongly encoded.'],
  useRepair: ['改为“{value}”', 'Use “{value}”'],
  fillNow: ['填入现在', 'Fill in now'],
  counter: ['{n} / {limit} 字', '{n} / {limit} characters'],
  choose: ['请选择', 'Choose'],
} satisfies Texts

/** Values that WeChat takes, by type. */
export const samples: Record<string, string> = {
  thing: '羊毛大衣 藏青 M 码',
  number: '12',
  letter: 'ABC',
  symbol: '★',
  character_string: 'SF1029384756610',
  time: '15:01',
  date: '2026年11月22日',
  amount: '¥399.00',
  phone_number: '+86-0766-66888866',
  car_number: '粤A8Z888',
  name: '张三',
  phrase: '配送中',
}

/** How a moment is written: as in WeChat's own samples, or in digits. */
export const momentForms = { han: '{Y}年{M}月{D}日', digits: '{Y}-{M}-{D}', year: '年' }
