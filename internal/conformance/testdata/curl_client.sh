#!/bin/sh
# No SDK: curl in a shell. Driven over lines; see node/line.mjs.
token=

get() { # path, then name=value
  path=$1
  shift
  for pair; do set -- "$@" --data-urlencode "$pair"; shift; done
  curl -sS -m 30 -G "$@" "$WECHAT_BASE$path"
}

post() { # path body
  curl -sS -m 30 -H 'Content-Type: application/json' --data-binary "$2" "$WECHAT_BASE$1"
}

keep() { # the answer of a token endpoint
  token=$(printf %s "$1" | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p')
}

fetch_token() {
  answer=$(get /cgi-bin/token grant_type=client_credential "appid=$WECHAT_APPID" "secret=$WECHAT_SECRET")
  keep "$answer"
}

tab=$(printf '\t')
while IFS=$tab read -r operation a b c; do
  refreshed=false
  case $operation in
  login) answer=$(get /sns/jscode2session grant_type=authorization_code "appid=$WECHAT_APPID" "secret=$WECHAT_SECRET" "js_code=$a") ;;
  token) fetch_token ;;
  stable_token)
    answer=$(post /cgi-bin/stable_token "{\"grant_type\":\"client_credential\",\"appid\":\"$WECHAT_APPID\",\"secret\":\"$WECHAT_SECRET\"}")
    keep "$answer"
    ;;
  gettemplate) answer=$(get /wxaapi/newtmpl/gettemplate "access_token=$token") ;;
  addtemplate) answer=$(post "/wxaapi/newtmpl/addtemplate?access_token=$token" "{\"tid\":\"$a\",\"kidList\":[$b],\"sceneDesc\":\"$c\"}") ;;
  send)
    body="{\"touser\":\"$a\",\"template_id\":\"$b\",\"data\":$c}"
    answer=$(post "/cgi-bin/message/subscribe/send?access_token=$token" "$body")
    case $answer in
    *'"errcode":40001'* | *'"errcode":42001'*)
      refreshed=true
      fetch_token
      answer=$(post "/cgi-bin/message/subscribe/send?access_token=$token" "$body")
      ;;
    esac
    ;;
  esac
  printf '{"client":"curl","operation":"%s","result":{"returned":%s},"refreshed":%s}\n' "$operation" "$answer" "$refreshed"
done
