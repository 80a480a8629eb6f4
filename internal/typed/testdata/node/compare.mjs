// Reads cases, one JSON object a line: the template and its values; answers the codes of the
// faults or the data.
import { readFileSync } from 'node:fs';
import * as templates from './built/cases.js';
import './built/use.js';

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const { template, values } = JSON.parse(line, (k, v) => (v && v.$date !== undefined ? new Date(v.$date) : v));
  try {
    console.log(JSON.stringify({ data: templates[template].data(values) }));
  } catch (e) {
    if (!(e instanceof templates.InvalidData)) throw e;
    console.log(JSON.stringify({ faults: e.faults.map((f) => f.pointer + ' ' + f.code) }));
  }
}
