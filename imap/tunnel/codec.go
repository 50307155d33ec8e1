package tunnel

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one builds upon
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A stack that has grown is not made smaller while more than a quarter of it is in use,
// and every session rests deep inside gRPC, where it waits for the next message. What is
// decoded there, or by way of one message inside another, would leave each of them
// with a stack of 8 KiB instead of 4.

// frameCodec is the codec of a distributor's session streams: what is received into a
// frame is decoded later, by who has received it.
type frameCodec struct{ encoding.CodecV2 }

var sessionCodec = frameCodec{encoding.GetCodecV2("proto")}

// frame is a message that was received and not decoded.
type frame struct{ mem.Buffer }

// Unmarshal implements [encoding.CodecV2].
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.Buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// decodeDown makes d what data say. What a newer node says besides is left out.
func decodeDown(data []byte, d *Down) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return protowire.ParseError(n)
		}
		field := data[:n]
		data = data[n:]
		if kind != protowire.BytesType {
			continue
		}
		if m := partOf(d, number); m != nil {
			value, _ := protowire.ConsumeBytes(field)
			if err := proto.Unmarshal(value, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// partOf makes d a message of the kind that has a number in node.proto, and returns what
// is inside; nil: there is none.
func partOf(d *Down, number protowire.Number) proto.Message {
	switch number {
	case 1:
		m := new(Answer)
		d.Message = &Down_Answer{m}
		return m
	case 2:
		m := new(Partial)
		d.Message = &Down_Partial{m}
		return m
	case 3:
		m := new(Bye)
		d.Message = &Down_Bye{m}
		return m
	case 4:
		m := new(Pong)
		d.Message = &Down_Pong{m}
		return m
	case 5:
		m := new(Refused)
		d.Message = &Down_Refused{m}
		return m
	case 6:
		m := new(Window)
		d.Message = &Down_Window{m}
		return m
	case 7:
		m := new(Leave)
		d.Message = &Down_Leave{m}
		return m
	}
	return nil
}
