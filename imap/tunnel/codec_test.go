package tunnel

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Every kind of message is decoded as the generated code does it.
func TestDecodeDown(t *testing.T) {
	kinds := (&Down{}).ProtoReflect().Descriptor().Fields()
	if kinds.Len() == 0 {
		t.Fatal("no messages")
	}
	for i := range kinds.Len() {
		want := new(Down)
		part := want.ProtoReflect().Mutable(kinds.Get(i)).Message()
		for f := range fields(part.Descriptor()) {
			switch {
			case f.IsList():
				part.Mutable(f).List().Append(protoreflect.ValueOfBytes([]byte("in a list")))
			case f.Kind() == protoreflect.MessageKind:
				inner := part.Mutable(f).Message()
				inner.Set(inner.Descriptor().Fields().Get(0), protoreflect.ValueOfUint64(7))
			default:
				part.Set(f, sample(f.Kind()))
			}
		}
		data, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := new(Down)
		if err := decodeDown(data, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%v became %v, %v", want, got, err)
		}
		for n := 1; n < len(data); n++ {
			if err := decodeDown(data[:n], new(Down)); err == nil {
				t.Errorf("%d bytes of %d were taken for %v", n, len(data), want)
			}
		}
	}
	newer := []byte{0x7a, 1, 'x', 0x40, 5} // fields 15 and 8
	if d := new(Down); decodeDown(newer, d) != nil || d.Message != nil {
		t.Errorf("%v", d)
	}
}

func fields(m protoreflect.MessageDescriptor) func(func(protoreflect.FieldDescriptor) bool) {
	return func(yield func(protoreflect.FieldDescriptor) bool) {
		for i := range m.Fields().Len() {
			if !yield(m.Fields().Get(i)) {
				return
			}
		}
	}
}

func sample(k protoreflect.Kind) protoreflect.Value {
	switch k {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("bytes"))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text")
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(300)
	}
	return protoreflect.ValueOfUint64(300)
}
