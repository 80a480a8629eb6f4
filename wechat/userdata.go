package wechat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// UserSignature is the signature of a user's session over message, as the calls
// checkSessionKey (检验登录态, message "") and resetUserSessionKey want it:
// HMAC-SHA256 in lower-case hex. The key is the text of the session key, not the
// bytes it encodes.
//
// 检验登录态:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_checksessionkey.html
func UserSignature(sessionKey, message string) string {
	mac := hmac.New(sha256.New, []byte(sessionKey))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// ErrForeignUserData is the error of [DecryptUserData] for data that was made for another app.
var ErrForeignUserData = errors.New("decrypt user data: made for another app")

// DecryptUserData opens encryptedData of the mini program's open-data functions
// (AES-128-CBC, all three inputs in base64) and returns its JSON. It fails when
// the key does not fit, and when the data was made for another app
// (watermark.appid). How old it may be is for the caller: watermark.timestamp,
// Unix seconds, is in the JSON.
//
// 开放数据校验与解密:
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
func DecryptUserData(sessionKey, iv, encryptedData, appID string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(sessionKey)
	if err != nil || len(key) != 16 {
		return nil, errors.New("decrypt user data: the session key is not 16 bytes of base64")
	}
	vector, err := base64.StdEncoding.DecodeString(iv)
	if err != nil || len(vector) != aes.BlockSize {
		return nil, errors.New("decrypt user data: the iv is not 16 bytes of base64")
	}
	data, err := base64.StdEncoding.DecodeString(encryptedData)
	if err != nil || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, errors.New("decrypt user data: the data is not base64 of whole AES blocks")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("decrypt user data: no cipher")
	}
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(data, data)
	return checkUserData(data, appID)
}

// checkUserData removes the padding and compares the watermark. Bad padding and
// bad JSON are one error: nothing authenticates the data, and telling them apart
// would help someone who tries out variations.
func checkUserData(data []byte, appID string) ([]byte, error) {
	var v struct {
		Watermark struct {
			AppID string `json:"appid"`
		} `json:"watermark"`
	}
	plain, ok := unpad(data, aes.BlockSize)
	if !ok || json.Unmarshal(plain, &v) != nil {
		return nil, errors.New("decrypt user data: wrong session key or damaged data")
	}
	if v.Watermark.AppID != appID {
		return nil, ErrForeignUserData
	}
	return plain, nil
}

// unpad removes PKCS#7 padding of 1 to most bytes.
func unpad(b []byte, most int) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n < 1 || n > most || n > len(b) {
		return nil, false
	}
	for _, c := range b[len(b)-n:] {
		if int(c) != n {
			return nil, false
		}
	}
	return b[:len(b)-n], true
}
