package wechat

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// captured is a request as a peer read it.
type captured struct {
	line   string // "POST /path?query"
	header http.Header
	body   string
}

// serving answers every request with body and reports the requests.
func serving(t testing.TB, body string) (*Client, <-chan captured) {
	t.Helper()
	got := make(chan captured, 10)
	p := newPeer(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			b, _ := io.ReadAll(req.Body)
			got <- captured{req.Method + " " + req.RequestURI, req.Header, string(b)}
			io.WriteString(c, ok(body))
		}
	})
	return newClient(t, Config{BaseURL: p.url()}), got
}

// testOpenID and the signature of no text by testSessionKey.
const (
	testOpenID     = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
	emptySignature = "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"
)

const escapedToken = "71_tok-EN%2Bwith%2Fodd%3Dchars%26and%25more"

func TestGoldenCalls(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file string
		call func(c *Client) (any, error)
		want any
		line string
		body string
	}{
		{
			"send.json",
			func(c *Client) (any, error) {
				return c.SendSubscribeMessage(t.Context(), testToken, &SubscribeMessage{
					ToUser: "OPENID", TemplateID: "TEMPLATE_ID", Page: "/index?foo=bar", MiniprogramState: "formal", Lang: "zh_CN",
					Data: map[string]DataValue{"phrase3": {"审核通过"}, "name1": {"订阅"}, "date2": {"2019-12-25 09:42"}},
				})
			},
			SendResult{MsgID: 1988810812324364291},
			"POST /cgi-bin/message/subscribe/send?access_token=" + escapedToken,
			strings.TrimSpace(golden(t, "send_request.json")),
		},
		{
			"token.json",
			func(c *Client) (any, error) { return c.GetAccessToken(t.Context(), testAppID, "s&cret") },
			AccessToken{"ACCESS_TOKEN", 2 * time.Hour},
			"GET /cgi-bin/token?grant_type=client_credential&appid=" + testAppID + "&secret=s%26cret", "",
		},
		{
			"stable_token.json",
			func(c *Client) (any, error) { return c.GetStableAccessToken(t.Context(), testAppID, "s&<cret", true) },
			AccessToken{"ACCESS_TOKEN", 345 * time.Second},
			"POST /cgi-bin/stable_token",
			`{"appid":"` + testAppID + `","force_refresh":true,"grant_type":"client_credential","secret":"s&<cret"}`,
		},
		{
			"jscode2session.json",
			func(c *Client) (any, error) { return c.Code2Session(t.Context(), testAppID, "s&cret", "co de") },
			Session{OpenID: "oGZUI0egBJY1zhBYw2KhdUfwVJJE", SessionKey: "o0q0otL8aEzpcZL/FT9WsQ=="},
			"GET /sns/jscode2session?appid=" + testAppID + "&secret=s%26cret&js_code=co+de&grant_type=authorization_code", "",
		},
		{
			"getcategory.json",
			func(c *Client) (any, error) { return c.GetCategory(t.Context(), testToken) },
			[]Category{{616, "公交"}},
			"GET /wxaapi/newtmpl/getcategory?access_token=" + escapedToken, "",
		},
		{
			"getpubtemplatetitles.json",
			func(c *Client) (any, error) {
				titles, count, err := c.GetPubTemplateTitles(t.Context(), testToken, []int{2, 616}, 0, 1)
				if count != 55 {
					t.Errorf("count %d", count)
				}
				return titles, err
			},
			[]PubTemplateTitle{{99, "付款成功通知", TemplateOneTime, "616"}},
			"GET /wxaapi/newtmpl/getpubtemplatetitles?access_token=" + escapedToken + "&ids=2,616&start=0&limit=1", "",
		},
		{
			"getpubtemplatekeywords.json",
			func(c *Client) (any, error) { return c.GetPubTemplateKeywords(t.Context(), testToken, "99") },
			[]PubTemplateKeyword{{1, "物品名称", "名称", "thing"}},
			"GET /wxaapi/newtmpl/getpubtemplatekeywords?access_token=" + escapedToken + "&tid=99", "",
		},
		{
			"addtemplate.json",
			func(c *Client) (any, error) {
				return c.AddTemplate(t.Context(), testToken, "401", []int{1, 2}, "测试数据")
			},
			"9Aw5ZV1j9xdWTFEkqCpZ7jWySL7aGN6rQom4gXINfJs",
			"POST /wxaapi/newtmpl/addtemplate?access_token=" + escapedToken,
			`{"tid":"401","kidList":[1,2],"sceneDesc":"测试数据"}`,
		},
		{
			"addtemplate_200022.json",
			func(c *Client) (any, error) { return c.AddTemplate(t.Context(), testToken, "10000001", nil, "a&b") },
			"9Aw5ZV1j9xdWTFEkqCpZ7jWySL7aGN6rQom4gXINfJs",
			"POST /wxaapi/newtmpl/addtemplate?access_token=" + escapedToken,
			`{"tid":"10000001","kidList":[],"sceneDesc":"a&b"}`,
		},
		{
			"deltemplate.json",
			func(c *Client) (any, error) { return nil, c.DeleteTemplate(t.Context(), testToken, "9Aw5ZV1j9x") },
			nil,
			"POST /wxaapi/newtmpl/deltemplate?access_token=" + escapedToken,
			`{"priTmplId":"9Aw5ZV1j9x"}`,
		},
		{
			"checksession.json",
			func(c *Client) (any, error) {
				return nil, c.CheckSessionKey(t.Context(), testToken, testOpenID, testSessionKey)
			},
			nil,
			"GET /wxa/checksession?access_token=" + escapedToken + "&openid=" + testOpenID + "&signature=" + emptySignature + "&sig_method=hmac_sha256", "",
		},
		{
			"resetusersessionkey.json",
			func(c *Client) (any, error) {
				return c.ResetUserSessionKey(t.Context(), testToken, testOpenID, testSessionKey)
			},
			Session{OpenID: testOpenID, SessionKey: "tiihtNczf5v6AKRyjwEUhQ=="},
			"GET /wxa/resetusersessionkey?access_token=" + escapedToken + "&openid=" + testOpenID + "&signature=" + emptySignature + "&sig_method=hmac_sha256", "",
		},
		{
			"quota_get.json",
			func(c *Client) (any, error) { return c.GetAPIQuota(t.Context(), testToken, pathSend) },
			APIQuota{&DailyQuota{10_000_000, 12, 9_999_988}, &RateLimit{600, 60}, &RateLimit{300, 60}},
			"POST /cgi-bin/openapi/quota/get?access_token=" + escapedToken,
			`{"cgi_path":"/cgi-bin/message/subscribe/send"}`,
		},
		{
			"clear_quota.json",
			func(c *Client) (any, error) { return nil, c.ClearQuota(t.Context(), testToken, testAppID) },
			nil,
			"POST /cgi-bin/clear_quota?access_token=" + escapedToken, `{"appid":"` + testAppID + `"}`,
		},
		{
			"clear_quota.json",
			func(c *Client) (any, error) { return nil, c.ClearQuotaByAppSecret(t.Context(), testAppID, "s&cret") },
			nil,
			"POST /cgi-bin/clear_quota/v2?appid=" + testAppID + "&appsecret=s%26cret", `{"appid":"` + testAppID + `","appsecret":"s&cret"}`,
		},
		{
			"clear_quota.json",
			func(c *Client) (any, error) {
				return nil, c.ClearAPIQuota(t.Context(), testToken, "/channels/ec/order/get")
			},
			nil,
			"POST /cgi-bin/openapi/quota/clear?access_token=" + escapedToken, `{"cgi_path":"/channels/ec/order/get"}`,
		},
		{
			"rid_get.json",
			func(c *Client) (any, error) {
				return c.GetRidInfo(t.Context(), testToken, "61725984-6126f6f9-040f19c4")
			},
			RidInfo{InvokeTime: time.Unix(1635156704, 0).UTC(), Cost: 30 * time.Millisecond, RequestURL: "access_token=redacted",
				ResponseBody: `{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 617682e0-09059ac5-34a8e2ea"}`, ClientIP: "113.0.0.1"},
			"POST /cgi-bin/openapi/rid/get?access_token=" + escapedToken, `{"rid":"61725984-6126f6f9-040f19c4"}`,
		},
		{
			"getcallbackip.json",
			func(c *Client) (any, error) { return c.GetCallbackIP(t.Context(), testToken) },
			[]string{"127.0.0.1", "127.0.0.2", "101.226.103.0/25"},
			"GET /cgi-bin/getcallbackip?access_token=" + escapedToken, "",
		},
		{
			"getcallbackip.json",
			func(c *Client) (any, error) { return c.GetAPIDomainIP(t.Context(), testToken) },
			[]string{"127.0.0.1", "127.0.0.2", "101.226.103.0/25"},
			"GET /cgi-bin/get_api_domain_ip?access_token=" + escapedToken, "",
		},
		{
			"callback_check.json",
			func(c *Client) (any, error) {
				return c.CallbackCheck(t.Context(), testToken, CheckAll, OperatorDefault)
			},
			CallbackCheck{DNS: []CallbackDNS{{"111.161.64.40", "UNICOM"}, {"111.161.64.48", "UNICOM"}},
				Ping: []CallbackPing{{"111.161.64.40", "UNICOM", "0%", "23.079ms"}}},
			"POST /cgi-bin/callback/check?access_token=" + escapedToken, `{"action":"all","check_operator":"DEFAULT"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			c, requests := serving(t, golden(t, tt.file))
			got, err := tt.call(c)
			// AccessToken and Session print as "redacted" in a diff too.
			if err != nil || !cmp.Equal(tt.want, got) {
				t.Errorf("%v, diff %s", err, cmp.Diff(tt.want, got))
			}
			req := <-requests
			if req.line != tt.line || req.body != tt.body {
				t.Errorf("sent %s\n%s\nwant %s\n%s", req.line, req.body, tt.line, tt.body)
			}
		})
	}
}

func TestGoldenTemplateList(t *testing.T) {
	t.Parallel()
	c, requests := serving(t, golden(t, "gettemplate.json"))
	list, err := c.GetTemplateList(t.Context(), testToken)
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v", list, err)
	}
	if req := <-requests; req.line != "GET /wxaapi/newtmpl/gettemplate?access_token="+escapedToken {
		t.Errorf("sent %s", req.line)
	}
	want := Template{
		PriTmplID: "9Aw5ZV1j9xdWTFEkqCpZ7mIBbSC34khK55OtzUPl0rU",
		Title:     "报名结果通知",
		Content:   "会议时间:{{date2.DATA}}\n会议地点:{{thing1.DATA}}\n",
		Example:   "会议时间:2016年8月8日\n会议地点:TIT会议室\n",
		Type:      TemplateOneTime,
	}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Error(diff)
	}
	enums := list[1].KeywordEnumValueList
	if list[1].Type != TemplateLongTerm || len(enums) != 2 || enums[0].KeywordCode != "enum_string2.DATA" ||
		len(enums[0].EnumValueList) != 23 || enums[0].EnumValueList[22] != "其他房间" {
		t.Errorf("got %+v", list[1])
	}
	// The wire form survives a round trip, for whoever serves it.
	b, err := json.Marshal(list)
	var again []Template
	if err != nil || json.Unmarshal(b, &again) != nil || !cmp.Equal(list, again) {
		t.Errorf("round trip: %v, %s", err, cmp.Diff(list, again))
	}
}

// The refusals seen in the wild, each through the call that answers it.
func TestGoldenErrors(t *testing.T) {
	t.Parallel()
	var samples []struct {
		Path     string          `json:"path"`
		Answer   json.RawMessage `json:"answer"`
		Rid      string          `json:"rid"`
		Field    string          `json:"field"`
		ClientIP string          `json:"client_ip"`
	}
	if err := json.Unmarshal([]byte(golden(t, "errors.json")), &samples); err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		t.Run(string(s.Answer), func(t *testing.T) {
			t.Parallel()
			c, _ := serving(t, string(s.Answer))
			got, isError := callPath(t, c, s.Path).(*Error)
			if !isError {
				t.Fatalf("no *Error")
			}
			want := &Error{Rid: s.Rid, Path: s.Path}
			if err := json.Unmarshal(s.Answer, want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*want, *got); diff != "" {
				t.Error(diff)
			}
			if got.Field() != s.Field || got.ClientIP() != s.ClientIP {
				t.Errorf("field %q, ip %q, want %q, %q", got.Field(), got.ClientIP(), s.Field, s.ClientIP)
			}
			if !strings.HasPrefix(got.Error(), s.Path+": errcode ") {
				t.Errorf("text %q", got.Error())
			}
		})
	}
}

// callPath makes the call of a path with credentials that must never show up.
func callPath(t testing.TB, c *Client, path string) (err error) {
	ctx := t.Context()
	switch path {
	case pathSend:
		err = send(t, c)
	case pathToken:
		_, err = c.GetAccessToken(ctx, testAppID, testSecret)
	case pathStableToken:
		_, err = c.GetStableAccessToken(ctx, testAppID, testSecret, false)
	case pathCode2Session:
		_, err = c.Code2Session(ctx, testAppID, testSecret, testCode)
	case pathGetCategory:
		_, err = c.GetCategory(ctx, testToken)
	case pathGetPubTitles:
		_, _, err = c.GetPubTemplateTitles(ctx, testToken, []int{1}, 0, 30)
	case pathGetPubKeywords:
		_, err = c.GetPubTemplateKeywords(ctx, testToken, "1")
	case pathGetTemplateList:
		_, err = c.GetTemplateList(ctx, testToken)
	case pathAddTemplate:
		_, err = c.AddTemplate(ctx, testToken, "1", []int{1, 2}, "x")
	case pathDeleteTemplate:
		err = c.DeleteTemplate(ctx, testToken, "x")
	case pathCheckSession:
		err = c.CheckSessionKey(ctx, testToken, testOpenID, testSessionKey)
	case pathResetSessionKey:
		_, err = c.ResetUserSessionKey(ctx, testToken, testOpenID, testSessionKey)
	case pathGetAPIQuota:
		_, err = c.GetAPIQuota(ctx, testToken, pathSend)
	case pathClearQuota:
		err = c.ClearQuota(ctx, testToken, testAppID)
	case pathClearQuotaV2:
		err = c.ClearQuotaByAppSecret(ctx, testAppID, testSecret)
	case pathClearAPIQuota:
		err = c.ClearAPIQuota(ctx, testToken, pathSend)
	case pathGetRidInfo:
		_, err = c.GetRidInfo(ctx, testToken, "61725984-6126f6f9-040f19c4")
	case pathGetAPIDomainIP:
		_, err = c.GetAPIDomainIP(ctx, testToken)
	case pathGetCallbackIP:
		_, err = c.GetCallbackIP(ctx, testToken)
	case pathCallbackCheck:
		_, err = c.CallbackCheck(ctx, testToken, CheckAll, OperatorDefault)
	default:
		t.Fatal("unknown path " + path)
	}
	return err
}

var allPaths = []string{
	pathSend, pathToken, pathStableToken, pathCode2Session, pathGetCategory, pathGetPubTitles,
	pathGetPubKeywords, pathGetTemplateList, pathAddTemplate, pathDeleteTemplate,
	pathCheckSession, pathResetSessionKey, pathGetAPIQuota, pathClearQuota, pathClearQuotaV2, pathClearAPIQuota,
	pathGetRidInfo, pathGetAPIDomainIP, pathGetCallbackIP, pathCallbackCheck,
}

// confirmed are the paths whose answer is an errcode and nothing else.
var confirmed = []string{pathDeleteTemplate, pathCheckSession, pathClearQuota, pathClearQuotaV2, pathClearAPIQuota}
