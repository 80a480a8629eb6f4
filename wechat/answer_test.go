package wechat

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Answers of the other calls that say success but lack what was asked for.
func TestIncompleteAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct{ path, answer string }{
		{pathToken, `{}`},
		{pathToken, `{"errcode":0,"errmsg":"ok"}`},
		{pathToken, `{"access_token":"","expires_in":7200}`},
		{pathToken, `{"expires_in":7200}`},
		{pathToken, `{"access_token":"A"}`},
		{pathToken, `{"access_token":"A","expires_in":0}`},
		{pathToken, `{"access_token":"A","expires_in":-1}`},
		{pathToken, `{"access_token":"A","expires_in":9223372036854775807}`},
		{pathToken, `{"access_token":"A","expires_in":"soon"}`},
		{pathToken, `{"access_token":7,"expires_in":7200}`},
		{pathStableToken, `{"access_token":null,"expires_in":7200}`},
		{pathCode2Session, `{"session_key":"x"}`},
		{pathCode2Session, `{"openid":""}`},
		{pathCode2Session, `{"openid":5}`},
		{pathGetCategory, `{"errcode":0}`},
		{pathGetCategory, `{"errcode":0,"data":{}}`},
		{pathGetCategory, `{"errcode":0,"data":[{"id":"six"}]}`},
		{pathGetPubTitles, `{"errcode":0,"data":[{"categoryId":[]}]}`},
		{pathGetPubTitles, `{"errcode":0,"data":[],"count":true}`},
		{pathGetPubKeywords, `{"errcode":0,"data":[1]}`},
		{pathGetTemplateList, `{"errcode":0,"data":"none"}`},
		{pathGetTemplateList, `{"errcode":"0","data":[]}`},
		{pathAddTemplate, `{"errcode":0,"errmsg":"ok"}`},
		{pathAddTemplate, `{"errcode":0,"priTmplId":""}`},
		{pathDeleteTemplate, `{}`},
		{pathDeleteTemplate, `[]`},
		{pathCheckSession, `{}`},
		{pathClearQuotaV2, `{"errmsg":"ok"}`},
		{pathResetSessionKey, `{"errcode":0,"openid":"oGZUI0egBJY1zhBYw2KhdUfwVJJE"}`},
		{pathResetSessionKey, `{"errcode":0,"openid":"oAnother","session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`},
		{pathGetAPIQuota, `{"errcode":0,"errmsg":"ok"}`},
		{pathGetAPIQuota, `{"errcode":0,"quota":{"used":"many"}}`},
		{pathGetRidInfo, `{"errcode":0,"errmsg":"ok"}`},
		{pathGetRidInfo, `{"errcode":0,"request":"GET"}`},
		{pathGetCallbackIP, `{}`},
		{pathGetCallbackIP, `{"ip_list":"127.0.0.1"}`},
		{pathGetAPIDomainIP, `{"ip_list":null}`},
		{pathCallbackCheck, `{"errcode":0}`},
	}
	for _, tt := range tests {
		t.Run(tt.path+tt.answer, func(t *testing.T) {
			t.Parallel()
			c, _ := serving(t, tt.answer)
			wantKind(t, callPath(t, c, tt.path), Unclear, tt.path)
		})
	}
}

// Numbers as strings, strings as numbers, null for an empty list.
func TestLenientAnswers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, _ := serving(t, `{"access_token":"A","expires_in":"60","openid":"o","errcode":0,"count":"3","data":[
		{"id":"616","name":"公交","tid":"99","type":"3","categoryId":616,"kid":"4","rule":"thing"},
		{"id":7,"categoryId":null,"type":null}]}`)
	token, err := c.GetStableAccessToken(ctx, testAppID, testSecret, false)
	check(t, AccessToken{"A", time.Minute}, token, err)
	session, err := c.Code2Session(ctx, testAppID, testSecret, testCode)
	check(t, Session{OpenID: "o"}, session, err)
	categories, err := c.GetCategory(ctx, testToken)
	check(t, []Category{{616, "公交"}, {7, ""}}, categories, err)
	titles, count, err := c.GetPubTemplateTitles(ctx, testToken, nil, 0, 30)
	check(t, []PubTemplateTitle{{99, "", TemplateLongTerm, "616"}, {}}, titles, err)
	check(t, 3, count, nil)
	keywords, err := c.GetPubTemplateKeywords(ctx, testToken, "99")
	check(t, []PubTemplateKeyword{{4, "公交", "", "thing"}, {}}, keywords, err)
	templates, err := c.GetTemplateList(ctx, testToken)
	check(t, []Template{{Type: TemplateLongTerm}, {}}, templates, err)

	for _, empty := range []string{`{"errcode":0,"data":[]}`, `{"errcode":0,"data":null}`, `{"data":[]}`} {
		c, _ := serving(t, empty)
		templates, err := c.GetTemplateList(ctx, testToken)
		if len(templates) != 0 || err != nil {
			t.Errorf("%s: got %v, %v", empty, templates, err)
		}
	}
}

func check[T any](t *testing.T, want, got T, err error) {
	t.Helper()
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v, %s", err, cmp.Diff(fmt.Sprintf("%v", want), fmt.Sprintf("%v", got)))
	}
}
