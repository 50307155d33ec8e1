package tunnel

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// messageStream is a stream whose other end sends what a fuzzer makes up: messages,
// each with its length in two bytes. It implements both kinds of stream.
type messageStream struct {
	grpc.ServerStream
	grpc.ClientStream
	ctx  context.Context
	in   []byte
	edit func(proto.Message) // changes what was received
}

func (s *messageStream) Context() context.Context { return s.ctx }
func (s *messageStream) CloseSend() error         { return nil }
func (s *messageStream) SendMsg(any) error        { return nil }

// RecvMsg returns io.EOF at the end, and an error for what is no message. A frame may
// have anything in it.
func (s *messageStream) RecvMsg(m any) error {
	if len(s.in) < 2 {
		return io.EOF
	}
	n := min(int(binary.BigEndian.Uint16(s.in)), len(s.in)-2)
	data := s.in[2 : 2+n]
	s.in = s.in[2+n:]
	f, isFrame := m.(*frame)
	message, isMessage := m.(proto.Message)
	if !isMessage {
		message = new(Down)
	}
	err := proto.Unmarshal(data, message)
	if err == nil && s.edit != nil {
		s.edit(message)
		if isFrame {
			data, err = proto.Marshal(message)
		}
	}
	if isFrame {
		f.Buffer, err = mem.SliceBuffer(data), nil
	}
	return err
}

// upStream is a messageStream from a distributor, downStream one from a node.
type (
	upStream   struct{ *messageStream }
	downStream struct{ *messageStream }
)

func (s upStream) Context() context.Context { return s.ctx }
func (s upStream) SendMsg(m any) error      { return nil }
func (s upStream) RecvMsg(m any) error      { return s.messageStream.RecvMsg(m) }
func (s upStream) Send(*Down) error         { return nil }
func (s upStream) Recv() (*Up, error) {
	up := new(Up)
	return up, s.RecvMsg(up)
}

func (s downStream) Context() context.Context { return s.ctx }
func (s downStream) SendMsg(m any) error      { return nil }
func (s downStream) RecvMsg(m any) error      { return s.messageStream.RecvMsg(m) }
func (s downStream) Send(*Up) error           { return nil }
func (s downStream) Recv() (*Down, error) {
	down := new(Down)
	return down, s.RecvMsg(down)
}

// encoded returns messages as a messageStream has them.
func encoded(f *testing.F, messages ...proto.Message) []byte {
	f.Helper()
	var out []byte
	for _, m := range messages {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(data))), data...)
	}
	return out
}

// FuzzUp: whatever a distributor sends, a node's session ends with the stream, and is
// given the client's bytes as they were sent, without a gap.
func FuzzUp(f *testing.F) {
	open := &Up{Message: &Up_Open{Open: &Open{UserId: 7, Login: "user7", Session: make([]byte, 16), Tag: "a"}}, Beat: 1}
	data := func(s string) *Up { return &Up{Message: &Up_Data{Data: []byte(s)}, Beat: 1} }
	ping, left := &Up{Message: &Up_Ping{Ping: &Ping{Number: 1}}, Beat: 1}, &Up{Message: &Up_Close{Close: &Close{}}}
	f.Add(encoded(f, open, data("a NOOP\r\n"), ping, data("b LOG"), data("OUT\r\n"), left))
	f.Add(encoded(f, open, data(string(make([]byte, 40000))), data(string(make([]byte, 40000))), left, data("x")))
	f.Add(encoded(f, open, data("a"), &Up{Message: &Up_Data{Data: []byte("late")}, Beat: 99}, open))
	f.Add(encoded(f, data("a"), left))
	f.Add(encoded(f, open, &Up{Beat: 1}))
	f.Fuzz(func(t *testing.T, in []byte) {
		var sent, got []byte
		node := NewServer(func(_ context.Context, _ *Open, c *Conn) error {
			var err error
			got, err = io.ReadAll(c)
			return err
		})
		ctx, cancel := context.WithCancel(context.Background())
		stream := &messageStream{ctx: ctx, in: in, edit: func(m proto.Message) {
			up := m.(*Up)
			if up.Beat == 1 { // one that the node has just told
				up.Beat = node.clock.beat()
			}
			sent = append(sent, up.GetData()...)
		}}
		node.Session(upStream{stream}) // any error will do
		cancel()
		node.running.Wait()
		if !bytes.HasPrefix(sent, got) {
			t.Errorf("of %d bytes sent %d others were read", len(sent), len(got))
		}
	})
}

// FuzzDown: whatever a node sends, the distributor's session comes to an end, and
// never takes more for read than was sent.
func FuzzDown(f *testing.F) {
	answer := &Down{Message: &Down_Answer{Answer: &Answer{Data: []byte("a OK\r\n"), Checkpoint: &Checkpoint{Consumed: 5, State: []byte("s")}}}}
	f.Add(encoded(f, answer, &Down{Message: &Down_Window{Window: &Window{Read: 7}}}, &Down{Message: &Down_Bye{Bye: &Bye{Data: []byte("* BYE\r\n")}}}), uint16(7))
	f.Add(encoded(f, &Down{Message: &Down_Window{Window: &Window{Read: 8}}}), uint16(7))
	f.Add(encoded(f, &Down{Message: &Down_Window{Window: &Window{Read: 5}}}, &Down{Message: &Down_Window{Window: &Window{Read: 4}}}), uint16(7))
	f.Add(encoded(f, &Down{Message: &Down_Partial{Partial: &Partial{Data: []byte("x")}}}, &Down{Message: &Down_Pong{Pong: &Pong{Number: 3}}}, &Down{}), uint16(0))
	f.Add(encoded(f, &Down{Message: &Down_Refused{Refused: &Refused{Reason: 99, Text: "no"}}}, answer), uint16(100))
	f.Fuzz(func(t *testing.T, in []byte, sent uint16) {
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		s := &Session{
			client: NewClient(nil), stream: downStream{&messageStream{ctx: ctx, in: in}}, ctx: ctx, cancel: cancel, room: make(chan struct{}, 1),
		}
		s.lease.init(s, 0)
		s.lease.sent(int(sent))
		defer s.lease.stop()
		for n := 0; ; n++ {
			if _, err := s.Recv(); err != nil {
				break
			}
			if n > len(in) {
				t.Fatal("more messages than bytes")
			}
		}
		if read := s.read.Load(); read > uint64(sent) {
			t.Errorf("%d of %d bytes are read", read, sent)
		}
	})
}
