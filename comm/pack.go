package comm

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// What goes to other members is compressed where that is worth it: pieces of
// contents each for itself, operations of one message together. Nothing is
// remembered from message to message, so that a peer costs no memory for it.
const (
	// packFrom is the least size that is tried, in bytes.
	packFrom = 512
	// packGain is the part that must be saved: 1/packGain.
	packGain = 8
)

// coders are made when the first peer needs them. They may be used concurrently.
var coders struct {
	once   sync.Once
	pack   *zstd.Encoder
	unpack *zstd.Decoder // gives at most maxFrame bytes
	err    error
}

func makeCoders() error {
	coders.once.Do(func() {
		coders.pack, coders.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(MaxChunk), zstd.WithEncoderCRC(false))
		if coders.err == nil {
			coders.unpack, coders.err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxFrame))
		}
	})
	return coders.err
}

// pack compresses data; nil if that is not worth it.
func pack(data []byte) []byte {
	if len(data) < packFrom || makeCoders() != nil {
		return nil
	}
	packed := coders.pack.EncodeAll(data, make([]byte, 0, len(data)))
	if len(packed) > len(data)-len(data)/packGain {
		return nil
	}
	return packed
}

// unpack undoes pack. More than limit bytes are an error.
func unpack(packed []byte, limit int) ([]byte, error) {
	if err := makeCoders(); err != nil {
		return nil, err
	}
	var h zstd.Header
	if err := h.Decode(packed); err != nil {
		return nil, fmt.Errorf("%w: compressed: %v", causal.ErrProtocol, err)
	}
	if !h.HasFCS || h.FrameContentSize > uint64(limit) {
		return nil, fmt.Errorf("%w: compressed: %d bytes (known: %v), limit %d", causal.ErrProtocol, h.FrameContentSize, h.HasFCS, limit)
	}
	data, err := coders.unpack.DecodeAll(packed, make([]byte, 0, h.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("%w: compressed: %v", causal.ErrProtocol, err)
	}
	if len(data) > limit { // several frames
		return nil, fmt.Errorf("%w: compressed: %d bytes, limit %d", causal.ErrProtocol, len(data), limit)
	}
	return data, nil
}

// encodeChunk puts a piece of a content into a message. It may share data.
func encodeChunk(root crdt.Root, index int, last bool, data []byte) *Chunk {
	c := &Chunk{Root: root[:], Index: uint32(index), Last: last, Data: data}
	if packed := pack(data); packed != nil {
		c.Data, c.Encoding = packed, Chunk_ZSTD
	}
	return c
}

// decodeChunk reads a piece from a peer and refuses what no sender makes.
func decodeChunk(c *Chunk, maxMessageSize int64) (root crdt.Root, data []byte, err error) {
	root, err = decodeRoot(c.GetRoot())
	switch {
	case err != nil:
		return root, nil, err
	case len(c.GetData()) > MaxChunk:
		return root, nil, fmt.Errorf("%w: piece of a body has %d bytes, limit %d", causal.ErrProtocol, len(c.GetData()), MaxChunk)
	case int64(c.GetIndex()) > maxMessageSize:
		return root, nil, fmt.Errorf("%w: piece %d of a body, messages have at most %d bytes", causal.ErrProtocol, c.GetIndex(), maxMessageSize)
	}
	switch c.GetEncoding() {
	case Chunk_PLAIN:
		return root, c.GetData(), nil
	case Chunk_ZSTD:
		data, err = unpack(c.GetData(), MaxChunk)
		return root, data, err
	}
	return root, nil, fmt.Errorf("%w: body in unknown encoding %d", causal.ErrProtocol, c.GetEncoding())
}

// packOperations compresses the operations of a message where that is worth it.
func packOperations(up *Up) error {
	n := 0
	for _, op := range up.GetOperations() {
		if n += proto.Size(op); n >= packFrom {
			break
		}
	}
	if n < packFrom {
		return nil
	}
	plain, err := proto.Marshal(&Up{Operations: up.Operations})
	if err != nil {
		return fmt.Errorf("encode operations: %w", err)
	}
	if packed := pack(plain); packed != nil {
		up.Packed, up.Operations = packed, nil
	}
	return nil
}

// operations returns the operations of a message.
func operations(up *Up) ([]*Operation, error) {
	if len(up.GetPacked()) == 0 {
		return up.GetOperations(), nil
	}
	plain, err := unpack(up.GetPacked(), maxFrame)
	if err != nil {
		return nil, err
	}
	var in Up
	if err := proto.Unmarshal(plain, &in); err != nil {
		return nil, fmt.Errorf("%w: compressed operations: %v", causal.ErrProtocol, err)
	}
	return append(up.GetOperations(), in.GetOperations()...), nil
}
