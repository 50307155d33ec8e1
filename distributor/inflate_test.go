package distributor

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// partlyFlushed are 33 commands as zlib compresses them that is told to flush without
// aligning to a byte (Z_PARTIAL_FLUSH), as mbsync does: a block with codes of its own,
// and a part of the empty one that follows.
const partlyFlushed = "" +
	"7cd1b10e01511086d15ee21d6e4923766677e66e89bd420822ab10f1feafa1f5375f7fba53cbeb3c95639b0fa762c3b6acce" +
	"b7b93d6fbbebb49b5bd9dfa7f7e6d1dae5f35d2f17a3d80e6db7156c8c3bc1ced804f78c5df0c0b8171c8c07c1c9380457c6" +
	"2978645cff7170602783c1832683c1832683c1832683c1832683c1832683c1832683c1832683c1832683c1832683c9832683" +
	"c9832e83c9832e83c9832e83c9832e83c9832e83c9832e83c9832e83c9832e83c9832e8395075d062b0ff6325879f027"

// waiting gives what there is and then fails the test: a client waits for the answer.
type waiting struct {
	t *testing.T
	r io.Reader
}

func (w waiting) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err == io.EOF {
		w.t.Error("asked for more than the client has to send")
	}
	return n, err
}

func TestInflateWhatIsFlushedInPart(t *testing.T) {
	data, err := hex.DecodeString(partlyFlushed)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for i := range 33 {
		fmt.Fprintf(&want, "%d UID FETCH %d (INTERNALDATE BODY.PEEK[])\r\n", 8+i, 250+i)
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(newInflater(waiting{t, bytes.NewReader(data)}), got); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%q, %v", got, err)
	}
}

// sample makes text of some length that compresses more or less.
func sample(r *rand.Rand) []byte {
	text := make([]byte, r.IntN(1<<r.IntN(18)))
	letters := 1 + r.IntN(256)
	for i := range text {
		if text[i] = byte(r.IntN(letters)); i > 300 && r.IntN(4) > 0 {
			text[i] = text[i-1-r.IntN(300)]
		}
	}
	return text
}

// TestInflate gives back what the standard library compresses, flushed here and there
// and coming byte by byte.
func TestInflate(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		var want, data bytes.Buffer
		w, err := stdflate.NewWriter(&data, r.IntN(12)-2)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + r.IntN(5) {
			text := sample(r)
			want.Write(text)
			w.Write(text)
			if r.IntN(2) == 0 {
				w.Flush()
			}
		}
		w.Close()
		var src io.Reader = &data
		if r.IntN(2) == 0 {
			src = iotest.OneByteReader(src)
		}
		if got, err := io.ReadAll(newInflater(src)); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("seed %d: %d bytes, %v, want %d", seed, len(got), err, want.Len())
		}
	}
}

// FuzzInflate: what the standard library can decompress, this can too, and the same
// comes out; of anything else no more than that comes to harm.
func FuzzInflate(f *testing.F) {
	data, err := hex.DecodeString(partlyFlushed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{1, 2, 0, 0xfd, 0xff, 'a', 'b'})
	f.Add([]byte{3, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		const enough = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(stdflate.NewReader(bytes.NewReader(data)), enough))
		got, err := io.ReadAll(io.LimitReader(newInflater(bytes.NewReader(data)), enough))
		if !bytes.HasPrefix(got, want) || wantErr == nil && (err != nil || len(got) != len(want)) {
			t.Errorf("%d bytes, %v; the standard library has %d, %v", len(got), err, len(want), wantErr)
		}
	})
}
