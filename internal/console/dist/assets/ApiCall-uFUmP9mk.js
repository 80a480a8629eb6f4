import{A as e,C as t,D as n,Et as r,Ht as i,N as a,Q as o,T as s,X as c,j as l,s as u,t as d,ut as f,vt as p,w as m,y as h,zt as g}from"./_plugin-vue_export-helper-De5RiYwS.js";import{n as _,r as v}from"./radio-2Yges29d.js";import{t as y}from"./CopyText-CYn4LCm9.js";var b={curl:`curl`,go:`Go`,node:`Node.js`,python:`Python`,java:`Java`,php:`PHP`};function x(e,t,n){return S[e](t,n.replace(/\/$/,``))}var S={curl:T,go:E,node:D,python:O,java:A,php:j};function C(e,t=2){return JSON.stringify(e,null,t)}function w(e,t){return e.replaceAll(`
`,`
`+t)}function T(e,t){return`curl -sS ${t}/v1/messages \\
  -H "Authorization: Bearer $HONGYAN_API_KEY" \\
  -H "Content-Type: application/json" \\
  -H "Idempotency-Key: $(openssl rand -hex 16)" \\
  -d @- <<'JSON'
${C(e)}
JSON
`}function E(e,t){let n=C(e);return`package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func main() {
	c, err := client.New(client.Config{BaseURL: "${t}", APIKey: os.Getenv("HONGYAN_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	var sub hongyan.Submission
	if err := json.Unmarshal([]byte(${n.includes("`")?JSON.stringify(JSON.stringify(e)):"`"+w(n,`		`)+"`"}), &sub); err != nil {
		log.Fatal(err)
	}
	m, err := c.Submit(context.Background(), sub, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.ID, m.Status)
}
`}function D(e,t){return`import { randomUUID } from 'node:crypto'

const answer = await fetch('${t}/v1/messages', {
  method: 'POST',
  headers: {
    Authorization: \`Bearer \${process.env.HONGYAN_API_KEY}\`,
    'Content-Type': 'application/json',
    'Idempotency-Key': randomUUID(),
  },
  body: JSON.stringify(${w(C(e),`  `)}),
})
const message = await answer.json()
if (!answer.ok) throw new Error(\`\${message.code}: \${message.detail}\`)
console.log(message.id, message.status)
`}function O(e,t){return`import json, os, urllib.error, urllib.request, uuid

submission = ${k(e)}
request = urllib.request.Request(
    "${t}/v1/messages",
    data=json.dumps(submission).encode(),
    headers={
        "Authorization": "Bearer " + os.environ["HONGYAN_API_KEY"],
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    },
)
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        message = json.load(answer)
    print(message["id"], message["status"])
except urllib.error.HTTPError as e:
    problem = json.load(e)
    raise SystemExit(problem["code"] + ": " + problem["detail"])
`}function k(e,t=``){if(e===!0)return`True`;if(e===!1)return`False`;if(typeof e!=`object`||!e)return JSON.stringify(e??null).replace(/^null$/,`None`);let n=t+`    `,r=Array.isArray(e),i=r?e.map(e=>k(e,n)):P(e).map(([e,t])=>`${JSON.stringify(e)}: ${k(t,n)}`),[a,o]=r?`[]`:`{}`;return i.length===0?a+o:`${a}\n${i.map(e=>`${n}${e},\n`).join(``)}${t}${o}`}function A(e,t){return`import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.UUID;

public class Send {
    public static void main(String[] args) throws Exception {
        String submission = """
            ${w(C(e).replaceAll(`\\`,`\\\\`).replaceAll(`"""`,`\\"""`),`            `)}
            """;
        HttpRequest request = HttpRequest.newBuilder(URI.create("${t}/v1/messages"))
            .header("Authorization", "Bearer " + System.getenv("HONGYAN_API_KEY"))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", UUID.randomUUID().toString())
            .POST(HttpRequest.BodyPublishers.ofString(submission))
            .build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
    }
}
`}function j(e,t){return`<?php
$submission = ${M(e)};

$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => [
        'Authorization: Bearer ' . getenv('HONGYAN_API_KEY'),
        'Content-Type: application/json',
        'Idempotency-Key: ' . bin2hex(random_bytes(16)),
    ],
    'content' => json_encode($submission, JSON_UNESCAPED_UNICODE),
    'ignore_errors' => true,
    'timeout' => 10,
]]);
$message = json_decode(file_get_contents('${t}/v1/messages', false, $context), true);
if (isset($message['code'])) {
    exit($message['code'] . ': ' . $message['detail'] . PHP_EOL);
}
echo $message['id'], ' ', $message['status'], PHP_EOL;
`}function M(e,t=``){if(typeof e==`string`)return N(e);if(typeof e!=`object`||!e)return JSON.stringify(e??null);let n=t+`    `,r=Array.isArray(e)?e.map(e=>M(e,n)):P(e).map(([e,t])=>`${N(e)} => ${M(t,n)}`);return r.length===0?`[]`:`[\n${r.map(e=>`${n}${e},\n`).join(``)}${t}]`}function N(e){return`'${e.replaceAll(`\\`,`\\\\`).replaceAll(`'`,`\\'`)}'`}function P(e){return Object.entries(e).filter(([,e])=>e!==void 0)}var F={title:[`用 API 调用`,`As an API call`],about:[`把密钥放进环境变量 HONGYAN_API_KEY；密钥在“API 密钥”页创建，需要 send 权限。`,`Put a key with the scope send into the variable HONGYAN_API_KEY; keys are made on the page “API keys”.`],retry:[`因网络问题重试时，请使用同一个 Idempotency-Key，这样不会重复发送。`,`When you try again after a network failure, use the same Idempotency-Key: nothing is sent twice.`],language:[`语言`,`Language`],open:[`查看 API 调用`,`Show as API call`]},I={class:`call`},L={class:`soft`},R={class:`soft`},z=`hongyan.calls`,B=a({__name:`ApiCall`,props:{submission:{}},setup(i){let a=i,d=u(F),S=localStorage.getItem(z),C=p(S&&S in b?S:`curl`),w=t(()=>x(C.value,a.submission,location.origin));function T(e){C.value=e,localStorage.setItem(z,e)}return(t,i)=>(c(),n(`div`,I,[m(`p`,L,g(r(d)(`about`)),1),l(r(v),{"model-value":C.value,size:`small`,"aria-label":r(d)(`language`),"onUpdate:modelValue":i[0]||=e=>T(e)},{default:f(()=>[(c(!0),n(h,null,o(r(b),(t,n)=>(c(),s(r(_),{key:n,value:n},{default:f(()=>[e(g(t),1)]),_:2},1032,[`value`]))),128))]),_:1},8,[`model-value`,`aria-label`]),l(y,{text:w.value,block:``},null,8,[`text`]),m(`p`,R,g(r(d)(`retry`)),1)]))}}),V=i({default:()=>H}),H=d(B,[[`__scopeId`,`data-v-e3438fba`]]);export{V as n,F as r,H as t};