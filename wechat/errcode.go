package wechat

import (
	"cmp"
	"slices"
)

// Errcodes that programs branch on. [LookupErrcode] knows many more.
const (
	ErrcodeOK                  = 0
	ErrcodeSystemBusy          = -1
	ErrcodeInvalidCredential   = 40001 // access token superseded; at token endpoints: wrong AppSecret
	ErrcodeInvalidGrantType    = 40002
	ErrcodeInvalidOpenID       = 40003
	ErrcodeInvalidAppID        = 40013
	ErrcodeInvalidAccessToken  = 40014
	ErrcodeInvalidCode         = 40029
	ErrcodeInvalidCharset      = 40033
	ErrcodeInvalidTemplateSize = 40036
	ErrcodeInvalidTemplateID   = 40037
	ErrcodeInvalidArgs         = 40097
	ErrcodeInvalidAppSecret    = 40125
	ErrcodeCodeUsed            = 40163
	ErrcodeIPNotAllowed        = 40164
	ErrcodeCodeBlocked         = 40226
	ErrcodeAppSecretFrozen     = 40243
	ErrcodeTokenMissing        = 41001
	ErrcodeAppIDMissing        = 41002
	ErrcodeAppSecretMissing    = 41004
	ErrcodeCodeMissing         = 41008
	ErrcodeInvalidPage         = 41030
	ErrcodeTokenExpired        = 42001
	ErrcodeRequireGET          = 43001
	ErrcodeRequirePOST         = 43002
	ErrcodeRequireHTTPS        = 43003
	ErrcodeUserRefused         = 43101 // not subscribed, grants used up, or rejected: one code for all
	ErrcodeTemplatePunished    = 43106
	ErrcodeSubscriptionBanned  = 43107
	ErrcodeConcurrentOpenID    = 43108
	ErrcodeEmptyPostData       = 44002
	ErrcodeContentTooLong      = 45002
	ErrcodeDailyQuota          = 45009
	ErrcodeMinuteQuota         = 45011
	ErrcodeClientIP            = 45035
	ErrcodeBlacklist           = 45168
	ErrcodeDataFormat          = 47001
	ErrcodeUnicodeEscape       = 47002
	ErrcodeArgumentInvalid     = 47003 // see Error.Field
	ErrcodeUnauthorized        = 48001
	ErrcodeForbidden           = 48004
	ErrcodeUserLimited         = 50002
	ErrcodeTokenForbidden      = 50004
	ErrcodeAccountFrozen       = 50007
	ErrcodeAdminConfirm        = 89503
	ErrcodeAdminRefused24h     = 89506
	ErrcodeAdminRefused1h      = 89507
	ErrcodeTemplateCount       = 200012
	ErrcodeTemplateExists      = 200022
)

// Classes of errcodes: who has to do something.
const (
	ClassBug        = "bug"   // the calling program
	ClassUser       = "user"  // the recipient: not subscribed, or not valid
	ClassTemplate   = "tmpl"  // the template, or the app's configuration
	ClassCredential = "cred"  // whoever keeps token, AppSecret, keys or IP list
	ClassQuota      = "quota" // nobody; a limit was reached
	ClassTemporary  = "temp"  // nobody; WeChat was busy
)

// ErrcodeInfo is what is known about an errcode. These are facts about WeChat;
// what to do about them is for the program that calls.
type ErrcodeInfo struct {
	Errcode int
	// Errmsg is WeChat's typical text without rid, or the name in WeChat's
	// table where no text is known; it may be empty.
	Errmsg string
	// ZH and EN say what it means and what to do, in Chinese and English.
	ZH, EN string
	// Class is one of the Class constants.
	Class string
	// Credential: the access token, AppSecret, key or calling IP was refused,
	// not the content of the call. See [IsTokenRefused] for the token alone.
	Credential bool
	// MayPass: the same call, unchanged, may pass later, by waiting or once
	// somebody has put credential or account in order.
	MayPass bool
	// URL is the official page.
	URL string
}

// LookupErrcode explains an errcode of the APIs in this package and their
// neighbours. It reports false for 0 and for unknown codes.
//
// Codes of wx.requestSubscribeMessage on phones (10001 to 10005, 20001 to 20013)
// are another set; some of their numbers mean something else here.
func LookupErrcode(code int) (ErrcodeInfo, bool) {
	i, ok := slices.BinarySearchFunc(errcodeTable, code, func(r errcodeRow, code int) int {
		return cmp.Compare(r.code, code)
	})
	if !ok {
		return ErrcodeInfo{}, false
	}
	return errcodeTable[i].info(), true
}

// Errcodes lists every known errcode in ascending order. The slice is the caller's.
func Errcodes() []ErrcodeInfo {
	list := make([]ErrcodeInfo, len(errcodeTable))
	for i, r := range errcodeTable {
		list[i] = r.info()
	}
	return list
}

// IsTokenRefused reports whether errcode, from any call but those that fetch
// tokens, says that the access token itself is at fault, so that another may pass.
func IsTokenRefused(errcode int) bool {
	switch errcode {
	case ErrcodeInvalidCredential, ErrcodeInvalidAccessToken, ErrcodeTokenMissing, ErrcodeTokenExpired:
		return true
	}
	return false
}

type errcodeRow struct {
	code   int
	class  string
	pass   passing
	page   string // below docs
	errmsg string
	zh, en string
}

// passing gives the table's MayPass a name.
type passing bool

const (
	later passing = true
	never passing = false
)

func (r errcodeRow) info() ErrcodeInfo {
	return ErrcodeInfo{
		Errcode: r.code,
		Errmsg:  r.errmsg,
		ZH:      r.zh,
		EN:      r.en,
		Class:   r.class,
		// A missing token is the caller's bug and a credential problem in one.
		Credential: r.class == ClassCredential || r.code == ErrcodeTokenMissing,
		MayPass:    bool(r.pass),
		URL:        docs + r.page,
	}
}
