/** One thing wrong with one value, in the words of the server. */
export interface Fault {
  pointer: string;
  code: string;
  detail: string;
}

/** The error of data that WeChat is certain to refuse; the server checks the same. */
export class InvalidData extends Error {
  readonly faults: Fault[];
  constructor(faults: Fault[]) {
    super(faults.map((f) => f.pointer + ': ' + f.detail).join(' '));
    this.name = 'InvalidData';
    this.faults = faults;
  }
}

/** What POST /v1/messages needs. */
export interface MessageBody {
  app: string;
  to: string | { user: string };
  template: string;
  data: Record<string, string>;
}

type Value = readonly [key: string, type: string, text: string, values?: readonly string[]];

function checked(values: readonly Value[]): Record<string, string> {
  const data: Record<string, string> = {};
  const faults: Fault[] = [];
  for (const value of values) {
    data[value[0]] = value[2];
    faults.push(...faultsOf(value));
  }
  if (faults.length > 0) throw new InvalidData(faults);
  return data;
}

// As long as .length says: 20 of a thing, and so on.
const limits: Readonly<Record<string, number>> = {
  thing: 20, number: 32, letter: 32, symbol: 5, character_string: 32, phone_number: 17, car_number: 8, name: 20, phrase: 5,
};

function faultsOf([key, type, text, values]: Value): Fault[] {
  const faults: Fault[] = [];
  const add = (code: string, detail: string) => {
    faults.push({ pointer: '/data/' + key, code, detail });
  };
  if (text === undefined || text === null) {
    add('missing', 'It is missing; WeChat refuses a message that leaves a key of the template out.');
    return faults;
  }
  if (typeof text !== 'string') {
    add('not_a_string', 'It must be a string.');
    return faults;
  }
  if (/^[\p{Cc}\p{White_Space}]*$/u.test(text)) {
    add('empty', 'It is empty or blank.');
    return faults;
  }
  const limit = type === 'name' && /\p{Script=Han}/u.test(text) ? 10 : limits[type];
  if (limit !== undefined && text.length > limit) {
    add('too_long', 'It is too long: ' + text.length + ' where ' + limit + ' are allowed.');
  }
  if (/[\n\r]/.test(text)) add('newline', 'It contains a line break.');
  if (/[^\P{Cc}\n\r]/u.test(text)) add('control_character', 'It contains a control character.');
  if (/\p{Cc}/u.test(text)) return faults; // what the type says is judged once they are gone
  switch (type) {
    case 'number':
      if (!isNumber(text)) add('not_numeric', 'It is not a number of digits and a decimal point.');
      break;
    case 'amount':
      if (/^[¥￥$€£]?\d{11,}(\.\d+)?元?$/u.test(text)) add('too_long', 'It has more than 10 digits before the decimal point.');
      break;
    case 'phrase':
      if (!/^\p{Script=Han}+$/u.test(text)) add('not_han', 'It holds something else than Chinese characters.');
      break;
    case 'enum':
    case 'enum_string':
      if (values && !values.includes(text)) add('not_in_enum', 'It is not one of: ' + values.join(', ') + '.');
      break;
    case 'date':
    case 'time':
      if (/^0\d{3}年/.test(text)) add('impossible_date', 'Its year is before 1000.');
  }
  return faults;
}

// Full-width digits, separators, a minus and spaces around may pass; anything else does not.
function isNumber(text: string): boolean {
  const t = text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '').replace(/[！-～]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0));
  return /^-?\d[\d,]*\.?[\d,]*$|^-?\.\d[\d,]*$/.test(t);
}

function numberText(n: number | bigint | string): string {
  return typeof n === 'string' || n === undefined || n === null ? n : String(n);
}

function amountText(a: string | { fen: number }): string {
  if (typeof a === 'string' || a === undefined || a === null) return a;
  if (!Number.isSafeInteger(a.fen)) return '';
  const fen = Math.abs(a.fen);
  return '¥' + (a.fen < 0 ? '-' : '') + Math.floor(fen / 100) + '.' + String(fen % 100).padStart(2, '0');
}

// The clock of China, which has no summer time.
function timeText(t: Date, layout: string): string {
  if (t === undefined || t === null) return t;
  const c = new Date(t.getTime() + 8 * 60 * 60 * 1000);
  if (Number.isNaN(c.getTime())) return '';
  const parts: Readonly<Record<string, string>> = {
    '2006': String(c.getUTCFullYear()).padStart(4, '0'), '1': String(c.getUTCMonth() + 1), '2': String(c.getUTCDate()),
    '15': two(c.getUTCHours()), '04': two(c.getUTCMinutes()), '05': two(c.getUTCSeconds()),
  };
  return layout.replace(/\d+/g, (part) => parts[part] ?? part);
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}

function periodText(p: { from: Date; to: Date }, layout: string): string {
  if (p === undefined || p === null) return p;
  const from = timeText(p.from, layout);
  const to = timeText(p.to, layout);
  return from && to && from + '~' + to;
}
