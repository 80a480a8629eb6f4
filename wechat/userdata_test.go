package wechat

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestUserSignature(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`{"foo":"bar"}`: "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b", // official example
		"":              "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128",
	} {
		if got := UserSignature(testSessionKey, message); got != want {
			t.Errorf("%q: got %s, want %s", message, got, want)
		}
	}
}

// The official demo of encryptedData.
const (
	demoAppID = "wx4f4bc4dec97d474b"
	demoKey   = "tiihtNczf5v6AKRyjwEUhQ=="
	demoIV    = "r7BXXKkLb8qrSNn05n0qiA=="
)

func TestDecryptUserData(t *testing.T) {
	t.Parallel()
	data := strings.TrimSpace(golden(t, "userdata.txt"))
	plain, err := DecryptUserData(demoKey, demoIV, data, demoAppID)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ OpenID, UnionID string }
	if err := json.Unmarshal(plain, &got); err != nil || got.OpenID != "oGZUI0egBJY1zhBYw2KhdUfwVJJE" || got.UnionID != "ocMvos6NjeKLIBqg5Mr9QjxrP1FA" {
		t.Errorf("got %s, %v", plain, err)
	}
	tests := map[string]struct{ key, iv, data, appID string }{
		"made for another app": {demoKey, demoIV, data, testAppID},
		"wrong session key":    {testSessionKey, demoIV, data, demoAppID},
		"session key is not":   {"tiihtNczf5v6AKRyjwEUhQ", demoIV, data, demoAppID},
		"key is not 16 bytes":  {"dGlpaA==", demoIV, data, demoAppID},
		"iv is not":            {demoKey, "", data, demoAppID},
		"data is not":          {demoKey, demoIV, "", demoAppID},
		"whole AES blocks":     {demoKey, demoIV, "dGlpaA==", demoAppID},
		"damaged data":         {demoKey, demoIV, data[:len(data)/4/16*16-64], demoAppID},
	}
	for want, tt := range tests {
		_, err := DecryptUserData(tt.key, tt.iv, tt.data, tt.appID)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			continue
		}
		wantNoSecret(t, err.Error(), testSessionKey, demoKey)
	}
}

func FuzzDecryptUserData(f *testing.F) {
	f.Add(demoKey, demoIV, strings.TrimSpace(golden(f, "userdata.txt")))
	f.Add(demoKey, demoIV, demoIV)
	f.Fuzz(func(t *testing.T, key, iv, data string) {
		plain, err := DecryptUserData(key, iv, data, demoAppID)
		if err == nil && !json.Valid(plain) {
			t.Errorf("got %q", plain)
		}
	})
}
