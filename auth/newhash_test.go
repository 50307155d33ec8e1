package auth

import "testing"

func TestNewHashVerifies(t *testing.T) {
	text, err := NewHash("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHash(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !h.Verify("correct horse") {
		t.Error("the password does not verify")
	}
	if h.Verify("correct horsf") {
		t.Error("another password verifies")
	}
	again, err := NewHash("correct horse")
	if err != nil || again == text {
		t.Errorf("second hash %q, %v: want another salt", again, err)
	}
}
