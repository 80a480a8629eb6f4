import { expect, it } from 'vitest'

import { apiCall, callLanguages, type CallLanguage } from '../../src/apicall'

const server = 'http://127.0.0.1:8420'
const hard = { app: 'wx1', to: { user: "it's" }, template: 't', data: { thing1: '"""\\ $HOME `x` \'y\' ${z} 中文', thing2: '' }, dry_run: true, tags: ['a', 'b'], page: undefined }

it.each(Object.keys(callLanguages) as CallLanguage[])('%s names the server and takes the key from the environment', (l) => {
  const text = apiCall(l, hard, server + '/')
  expect(text).toContain(`${server}/v1/messages`.replace(l === 'go' ? '/v1/messages' : '', ''))
  expect(text).toContain('HONGYAN_API_KEY')
  expect(text).not.toContain('undefined')
})

it('gives the shell JSON that it leaves alone', () => {
  const text = apiCall('curl', hard, server)
  const body = text.slice(text.indexOf("<<'JSON'\n") + 9, text.lastIndexOf('\nJSON'))
  expect(JSON.parse(body)).toEqual(JSON.parse(JSON.stringify(hard)))
})

it('writes values in the language’s own way', () => {
  expect(apiCall('python', hard, server)).toContain('"dry_run": True,')
  expect(apiCall('php', hard, server)).toContain("'user' => 'it\\'s',")
  expect(apiCall('go', hard, server)).toContain('[]byte("{')
  expect(apiCall('go', { app: 'wx1' }, server)).toContain('[]byte(`{')
  expect(apiCall('java', hard, server)).toContain('\\\\"\\\\"\\\\"')
})
