package sandbox

import (
	"unicode/utf8"

	"github.com/hongyan-push/hongyan/wechat"
)

// Errcodes of the template endpoints and others that few programs name.
const (
	errcodeNotFound         = 404
	errcodeBadParameter     = 20002
	errcodeInvalidURL       = 40066
	errcodeNoPushURL        = 40201
	errcodeCheckAction      = 40202
	errcodeCheckOperator    = 40203
	errcodeClearQuota       = 48006
	errcodeRidNotFound      = 76001
	errcodeRidMalformed     = 76002
	errcodeRidNotAllowed    = 76003
	errcodeRidTime          = 76004
	errcodePathNotFound     = 76021
	errcodePathNotAllowed   = 76022
	errcodeSessionKey       = 87007
	errcodeSigMethod        = 87008
	errcodeSignature        = 87009
	errcodeInvalidTID       = 200014
	errcodeInvalidStart     = 200016
	errcodeInvalidLimit     = 200017
	errcodeMissingIDs       = 200018
	errcodeInvalidIDs       = 200019
	errcodeInvalidKIDs      = 200020
	errcodeInvalidSceneDesc = 200021
)

// errmsgs are WeChat's own texts where one was seen or is documented. The last
// group is our wording for codes whose text nobody has published.
var errmsgs = map[int]string{
	wechat.ErrcodeSystemBusy:         "system error",
	wechat.ErrcodeInvalidCredential:  "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
	wechat.ErrcodeInvalidGrantType:   "invalid grant_type",
	wechat.ErrcodeInvalidOpenID:      "invalid openid",
	wechat.ErrcodeInvalidAppID:       "invalid appid",
	wechat.ErrcodeInvalidAccessToken: "invalid access_token",
	wechat.ErrcodeInvalidCode:        "invalid code",
	wechat.ErrcodeInvalidTemplateID:  "invalid template_id",
	wechat.ErrcodeInvalidArgs:        "invalid args",
	wechat.ErrcodeInvalidAppSecret:   "invalid appsecret",
	wechat.ErrcodeCodeUsed:           "code been used",
	wechat.ErrcodeIPNotAllowed:       "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
	wechat.ErrcodeCodeBlocked:        "code blocked",
	wechat.ErrcodeTokenMissing:       "access_token missing",
	wechat.ErrcodeAppIDMissing:       "appid missing",
	wechat.ErrcodeAppSecretMissing:   "appsecret missing",
	wechat.ErrcodeCodeMissing:        "code missing",
	wechat.ErrcodeInvalidPage:        "invalid page",
	wechat.ErrcodeTokenExpired:       "access_token expired",
	wechat.ErrcodeRequireGET:         "require GET method",
	wechat.ErrcodeRequirePOST:        "require POST method",
	wechat.ErrcodeRequireHTTPS:       "require https",
	wechat.ErrcodeUserRefused:        "user refuse to accept the msg",
	wechat.ErrcodeTemplatePunished:   "not allow to add template, for punishment",
	wechat.ErrcodeConcurrentOpenID:   "Cannot make concurrent calls to the same OpenID, please try again",
	wechat.ErrcodeEmptyPostData:      "empty post data",
	wechat.ErrcodeContentTooLong:     "content size out of limit",
	wechat.ErrcodeDailyQuota:         "reach max api daily quota limit",
	wechat.ErrcodeMinuteQuota:        "api minute-quota reach limit  mustslower  retry next minute",
	wechat.ErrcodeClientIP:           "access clientip is not registered",
	wechat.ErrcodeBlacklist:          "keyword in blacklist",
	wechat.ErrcodeDataFormat:         "data format error",
	wechat.ErrcodeUnicodeEscape:      `data format error, do NOT use json unicode encode (\uxxxx\uxxxx), please use utf8 encoded text!`,
	wechat.ErrcodeArgumentInvalid:    "argument invalid! data.thing1.value invalid",
	wechat.ErrcodeUnauthorized:       "api unauthorized",
	wechat.ErrcodeForbidden:          "api forbidden for irregularities, view detail on mp.weixin.qq.com",
	wechat.ErrcodeUserLimited:        "user limited",
	wechat.ErrcodeTokenForbidden:     "user not allow to use accesstoken, maybe for punishment",
	wechat.ErrcodeTemplateExists:     "template has added already",
	errcodeNotFound:                  "404 not found",
	errcodeClearQuota:                "forbid to clear quota because of reaching the limit",
	errcodePathNotFound:              "cgi_path not found, please check",
	errcodePathNotAllowed:            "could not use this cgi_path，no permission",
	errcodeSessionKey:                "session_key is not existd or expired", // WeChat's spelling
	errcodeSigMethod:                 "invalid sig_method",
	errcodeSignature:                 "invalid signature",
	20001:                            "system error",
	200001:                           "system error",

	wechat.ErrcodeSubscriptionBanned: "subscribe message is banned",
	wechat.ErrcodeAppSecretFrozen:    "appsecret frozen",
	wechat.ErrcodeAccountFrozen:      "account frozen",
	wechat.ErrcodeTemplateCount:      "template num exceeds limit",
	errcodeBadParameter:              "invalid parameter",
	errcodeInvalidURL:                "invalid url",
	errcodeInvalidTID:                "invalid tid",
	errcodeInvalidStart:              "invalid start",
	errcodeInvalidLimit:              "invalid limit",
	errcodeMissingIDs:                "missing ids",
	errcodeInvalidIDs:                "invalid ids",
	errcodeInvalidKIDs:               "invalid kidList",
	errcodeInvalidSceneDesc:          "invalid sceneDesc",
	200002:                           "invalid parameter",
}

// errmsgOf is the text of an errcode, without rid.
func errmsgOf(code int) string {
	if text, ok := errmsgs[code]; ok {
		return text
	}
	if info, ok := wechat.LookupErrcode(code); ok && info.Errmsg != "" {
		return info.Errmsg
	}
	return "error"
}

// argumentInvalidLimit is where WeChat cuts what it says about an argument.
const argumentInvalidLimit = 30

// argumentInvalid is the text of 47003: WeChat names the first bad field and
// cuts the sentence after 30 characters, in the middle of a word if need be.
func argumentInvalid(complaint string) string {
	if utf8.RuneCountInString(complaint) > argumentInvalidLimit {
		complaint = string([]rune(complaint)[:argumentInvalidLimit])
	}
	return "argument invalid! " + complaint
}
