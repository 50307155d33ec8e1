package auth

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// newParams are what NewHash uses: OWASP's recommendation for Argon2id, which
// costs a mail server with many logins tens of milliseconds and 19 MiB each.
var newParams = argon2Params{memory: 19 << 10, time: 2, threads: 1}

const newSaltLen, newSumLen = 16, 32

// NewHash hashes a password in the form that adapters read: {ARGON2ID} and the
// PHC string, with a random salt.
func NewHash(password string) (string, error) {
	salt := make([]byte, newSaltLen)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("draw a salt: %w", err)
	}
	p := newParams
	sum := argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, newSumLen)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("{%s}$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", FormatArgon2id, argon2.Version,
		p.memory, p.time, p.threads, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}
