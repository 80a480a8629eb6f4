// Renders /openapi.json. No dependencies, nothing from elsewhere.
'use strict'

function el(tag, attrs, ...children) {
  const node = document.createElement(tag)
  for (const [k, v] of Object.entries(attrs || {})) node.setAttribute(k, v)
  node.append(...children.filter((c) => c !== undefined && c !== ''))
  return node
}

function resolve(spec, schema) {
  while (schema && schema.$ref) schema = spec.components.schemas[schema.$ref.split('/').pop()]
  return schema || {}
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split('/').pop()
  if (schema.oneOf) return schema.oneOf.map(typeOf).join(' or ')
  const type = [].concat(schema.type || 'any').filter((t) => t !== 'null').join(' or ')
  if (type === 'array') return 'list of ' + typeOf(schema.items || {})
  return schema.format ? type + ' (' + schema.format + ')' : type
}

function about(schema) {
  const parts = []
  if (schema.description) parts.push(schema.description)
  if (schema.enum) parts.push('One of: ' + schema.enum.join(', ') + '.')
  if (schema.default !== undefined) parts.push('Default ' + schema.default + '.')
  return parts.join(' ')
}

function fields(spec, schema) {
  const full = resolve(spec, schema)
  const required = new Set(full.required || [])
  const rows = Object.entries(full.properties || {}).map(([name, s]) =>
    el('tr', {}, el('td', {}, el('code', {}, name)), el('td', {}, typeOf(s) + (required.has(name) ? '' : ' ?')), el('td', {}, about(s))))
  return rows.length ? el('table', {}, ...rows) : el('p', {}, el('code', {}, typeOf(schema)))
}

function bodyOf(content) {
  const media = content && Object.values(content)[0]
  return media && media.schema
}

function operation(spec, method, path, op) {
  const box = el('div')
  if (op.description) box.append(el('p', {}, op.description))
  const scopes = op['x-scopes'] || []
  box.append(el('p', { class: 'muted' }, scopes.length ? 'API key with scope ' + scopes.join(' or ') : 'Any API key'))
  if (op.parameters) {
    box.append(el('h4', {}, 'Parameters'), el('table', {}, ...op.parameters.map((p) =>
      el('tr', {}, el('td', {}, el('code', {}, p.name)), el('td', {}, p.in + ', ' + typeOf(p.schema || {})), el('td', {}, p.description || about(p.schema || {}))))))
  }
  const request = op.requestBody && bodyOf(op.requestBody.content)
  if (request) box.append(el('h4', {}, 'Body: ' + typeOf(request)), fields(spec, request))
  for (const [status, response] of Object.entries(op.responses || {})) {
    if (status === 'default') continue
    const schema = bodyOf(response.content)
    box.append(el('h4', {}, status + ' ' + (response.description || '') + (schema ? ': ' + typeOf(schema) : '')))
    if (schema) box.append(fields(spec, schema))
  }
  const details = el('details', { id: op.operationId }, el('summary', {}, el('span', { class: 'method' }, method.toUpperCase()), el('code', {}, path), ' ', el('span', { class: 'muted' }, op.summary || '')), box)
  details.dataset.text = (method + ' ' + path + ' ' + (op.summary || '')).toLowerCase()
  return details
}

function render(spec) {
  document.getElementById('intro').textContent = spec.info.description
  const main = document.getElementById('operations')
  for (const tag of spec.tags || []) {
    const section = el('section', {}, el('h2', {}, tag.name), el('p', { class: 'muted' }, tag.description || ''))
    for (const [path, item] of Object.entries(spec.paths)) {
      for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
        if (item[method] && item[method].tags.includes(tag.name)) section.append(operation(spec, method, path, item[method]))
      }
    }
    main.append(section)
  }
  main.append(el('section', {}, el('h2', {}, 'schemas'), ...Object.keys(spec.components.schemas).sort().map((name) =>
    el('details', { id: 'schema-' + name }, el('summary', {}, el('code', {}, name)), el('div', {}, fields(spec, spec.components.schemas[name]))))))
  document.getElementById('filter').addEventListener('input', (event) => {
    const want = event.target.value.toLowerCase()
    for (const d of main.querySelectorAll('details[data-text]')) d.hidden = !d.dataset.text.includes(want)
  })
}

fetch('/openapi.json')
  .then((r) => r.json())
  .then(render)
  .catch(() => { document.getElementById('intro').textContent = 'The description could not be loaded; see /openapi.yaml.' })
