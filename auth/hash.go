package auth

import (
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/GehirnInc/crypt/sha512_crypt"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Format is a way in which passwords are stored.
type Format string

// The formats, as their prefixes in braces name them.
const (
	FormatPlain       Format = "PLAIN"        // the password itself, for development
	FormatArgon2id    Format = "ARGON2ID"     // RFC 9106 in the PHC string format
	FormatBcrypt      Format = "BLF-CRYPT"    // $2a$, $2b$, $2y$
	FormatSHA512Crypt Format = "SHA512-CRYPT" // $6$
	FormatSHA512      Format = "SHA512"       // base64 of one unsalted SHA-512: of the 2017 prototype, weak
)

// Hash is what is stored of a password.
type Hash struct {
	format Format
	text   string // bcrypt and crypt: the whole string; plain: the password
	params argon2Params
	salt   []byte
	sum    []byte
}

type argon2Params struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// Limits of what a stored hash may cost, so that a slip of the pen in it is an
// error instead of an outage.
const (
	maxArgon2Memory = 1 << 20 // KiB
	maxArgon2Time   = 64
	maxBcryptCost   = 18
	maxCryptRounds  = 5_000_000
	maxSaltLen      = 64
	maxSumLen       = 128
)

// ParseHash reads a stored password: a format's name in braces and the hash, as
// in {ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$...; a hash that begins with
// $argon2id$, $2a$, $2b$, $2y$ or $6$ needs no name. Anything else that does
// not begin with { or $ is a plain password; {PLAIN} stands before one that
// does. The error does not contain the text.
func ParseHash(s string) (Hash, error) {
	name, rest, named := "", s, false
	if strings.HasPrefix(s, "{") {
		name, rest, named = strings.Cut(s[1:], "}")
		if !named {
			return Hash{}, errors.New("the } after the format's name is missing; write {PLAIN} before a password that begins with {")
		}
	}
	if !named {
		switch {
		case strings.HasPrefix(s, "$argon2id$"):
			name = string(FormatArgon2id)
		case isBcrypt(s):
			name = string(FormatBcrypt)
		case strings.HasPrefix(s, "$6$"):
			name = string(FormatSHA512Crypt)
		case strings.HasPrefix(s, "$"):
			return Hash{}, errors.New("a hash of unknown format; known are $argon2id$, $2a$, $2b$, $2y$ and $6$ (write {PLAIN} before a password that begins with $)")
		default:
			name = string(FormatPlain)
		}
	}
	switch Format(strings.ToUpper(name)) {
	case FormatPlain:
		return parsePlain(rest)
	case FormatArgon2id:
		return parseArgon2id(rest)
	case FormatBcrypt, "BCRYPT", "CRYPT-BLF":
		return parseBcrypt(rest)
	case FormatSHA512Crypt:
		return parseSHA512Crypt(rest)
	case FormatSHA512:
		return parseSHA512(rest)
	}
	return Hash{}, fmt.Errorf("unknown format %.20q; known are {ARGON2ID}, {BLF-CRYPT}, {SHA512-CRYPT}, {SHA512} and {PLAIN}", name)
}

// Format returns the hash's format.
func (h Hash) Format() Format { return h.format }

// Verify reports whether the hash is that of the password. Passwords are
// compared in constant time.
func (h Hash) Verify(password string) bool {
	switch h.format {
	case FormatPlain:
		// Sums have one length, whatever the passwords'.
		a, b := sha512.Sum512([]byte(h.text)), sha512.Sum512([]byte(password))
		return subtle.ConstantTimeCompare(a[:], b[:]) == 1
	case FormatArgon2id:
		sum := argon2.IDKey([]byte(password), h.salt, h.params.time, h.params.memory, h.params.threads, uint32(len(h.sum)))
		return subtle.ConstantTimeCompare(sum, h.sum) == 1
	case FormatBcrypt:
		return bcrypt.CompareHashAndPassword([]byte(h.text), []byte(password)) == nil
	case FormatSHA512Crypt:
		return verifySHA512Crypt(h.text, password)
	case FormatSHA512:
		sum := sha512.Sum512([]byte(password))
		return subtle.ConstantTimeCompare(sum[:], h.sum) == 1
	}
	return false
}

func parsePlain(s string) (Hash, error) {
	if s == "" {
		return Hash{}, errors.New("the password is empty")
	}
	return Hash{format: FormatPlain, text: s}, nil
}

// parseArgon2id reads the PHC string format,
// $argon2id$v=19$m=65536,t=3,p=1$salt$sum, base64 without padding.
func parseArgon2id(s string) (Hash, error) {
	fields := strings.Split(s, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" {
		return Hash{}, errors.New("not of the form $argon2id$v=19$m=...,t=...,p=...$salt$hash")
	}
	if fields[2] != "v=19" {
		return Hash{}, errors.New("argon2id of another version than 19")
	}
	h := Hash{format: FormatArgon2id}
	var err error
	if h.params, err = parseArgon2Params(fields[3]); err != nil {
		return Hash{}, err
	}
	if h.salt, err = decodeBase64(fields[4]); err != nil || len(h.salt) < 8 || len(h.salt) > maxSaltLen {
		return Hash{}, fmt.Errorf("argon2id: the salt is not base64 of 8 to %d bytes", maxSaltLen)
	}
	if h.sum, err = decodeBase64(fields[5]); err != nil || len(h.sum) < 16 || len(h.sum) > maxSumLen {
		return Hash{}, fmt.Errorf("argon2id: the hash is not base64 of 16 to %d bytes", maxSumLen)
	}
	return h, nil
}

func parseArgon2Params(s string) (argon2Params, error) {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return argon2Params{}, errors.New("argon2id: the parameters are not of the form m=65536,t=3,p=1")
	}
	m, err1 := parameter(fields[0], "m=", maxArgon2Memory)
	t, err2 := parameter(fields[1], "t=", maxArgon2Time)
	p, err3 := parameter(fields[2], "p=", 255)
	if err := errors.Join(err1, err2, err3); err != nil {
		return argon2Params{}, err
	}
	return argon2Params{memory: uint32(m), time: uint32(t), threads: uint8(p)}, nil
}

// parameter reads a number from 1 to most after its name.
func parameter(s, name string, most uint64) (uint64, error) {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 || n > most {
		return 0, fmt.Errorf("the parameter %s is not a number from 1 to %d", name, most)
	}
	return n, nil
}

// decodeBase64 accepts base64 with and without padding.
func decodeBase64(s string) ([]byte, error) {
	return base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
}

func isBcrypt(s string) bool {
	return strings.HasPrefix(s, "$2a$") || strings.HasPrefix(s, "$2b$") || strings.HasPrefix(s, "$2y$")
}

func parseBcrypt(s string) (Hash, error) {
	if !isBcrypt(s) || len(s) != 60 {
		return Hash{}, errors.New("not a bcrypt hash: $2a$, $2b$ or $2y$ and 60 characters")
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || cost > maxBcryptCost {
		return Hash{}, fmt.Errorf("a bcrypt hash with a cost that is not a number from %d to %d", bcrypt.MinCost, maxBcryptCost)
	}
	return Hash{format: FormatBcrypt, text: s}, nil
}

// parseSHA512Crypt checks the form $6$[rounds=n$]salt$hash.
func parseSHA512Crypt(s string) (Hash, error) {
	fields := strings.Split(s, "$")
	if len(fields) == 5 {
		if _, err := parameter(fields[2], "rounds=", maxCryptRounds); err != nil {
			return Hash{}, fmt.Errorf("SHA512-CRYPT: %w", err)
		}
		fields = append(fields[:2:2], fields[3:]...)
	}
	if len(fields) != 4 || fields[0] != "" || fields[1] != "6" || fields[2] == "" || len(fields[2]) > 16 || strings.HasPrefix(fields[2], "rounds=") || len(fields[3]) != 86 {
		return Hash{}, errors.New("not of the form $6$salt$hash or $6$rounds=...$salt$hash")
	}
	return Hash{format: FormatSHA512Crypt, text: s}, nil
}

// verifySHA512Crypt makes the hash anew from rounds and salt. (The library's
// own Verify takes a short salt after rounds=... for longer than it is.)
func verifySHA512Crypt(text, password string) bool {
	i := strings.LastIndexByte(text, '$')
	made, err := sha512_crypt.New().Generate([]byte(password), []byte(text[:i]))
	if err != nil {
		return false
	}
	j := strings.LastIndexByte(made, '$')
	return subtle.ConstantTimeCompare([]byte(made[j:]), []byte(text[i:])) == 1
}

func parseSHA512(s string) (Hash, error) {
	sum, err := decodeBase64(s)
	if err != nil || len(sum) != sha512.Size {
		return Hash{}, errors.New("{SHA512}: not the base64 of a SHA-512 sum")
	}
	return Hash{format: FormatSHA512, sum: sum}, nil
}

// cost names what verifying the hash costs; equal costs take equal time.
func (h Hash) cost() string {
	switch h.format {
	case FormatArgon2id:
		return fmt.Sprintf("%s %+v %d", h.format, h.params, len(h.sum))
	case FormatBcrypt:
		return string(h.format) + h.text[3:7]
	case FormatSHA512Crypt:
		if rest, ok := strings.CutPrefix(h.text, "$6$rounds="); ok {
			rounds, _, _ := strings.Cut(rest, "$")
			return string(h.format) + rounds
		}
	}
	return string(h.format)
}

// decoy returns a hash of the same cost that no password has, or that nobody
// knows the password of.
func (h Hash) decoy() Hash {
	d := h
	switch h.format {
	case FormatArgon2id:
		d.salt, d.sum = random(len(h.salt)), random(len(h.sum))
	case FormatBcrypt:
		d.text = h.text[:7] + cryptText(53)
	case FormatSHA512Crypt:
		i := strings.LastIndexByte(h.text, '$')
		d.text = h.text[:i+1] + cryptText(86)
	case FormatSHA512:
		d.sum = random(len(h.sum))
	case FormatPlain:
		d.text = string(random(16))
	}
	return d
}

// defaultDecoy is for the time before any hash was seen. Its parameters are the
// second recommendation of RFC 9106 section 4.
func defaultDecoy() Hash {
	return Hash{format: FormatArgon2id, params: argon2Params{memory: 64 << 10, time: 3, threads: 4}, salt: random(16), sum: random(32)}
}

// random returns n random bytes. (crypto/rand does not fail.)
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// cryptText returns n random letters of the alphabet of crypt(3).
func cryptText(n int) string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := random(n)
	for i := range b {
		b[i] = alphabet[b[i]&63]
	}
	return string(b)
}
