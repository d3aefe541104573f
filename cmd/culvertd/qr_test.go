package main

import (
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// TestQRCodeCanBeScanned looks at the code as a camera does, dark and light alike.
func TestQRCodeCanBeScanned(t *testing.T) {
	const want = "otpauth://totp/bastion.example:alice?issuer=bastion.example&secret=ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	text, err := qrCode(want)
	if err != nil {
		t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(photo(t, text))
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatalf("not to be scanned: %v\n%s", err, text)
	}
	if got := result.GetText(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// photo is how a terminal shows text that is black on white, with some of its own black around it.
func photo(t *testing.T, text string) image.Image {
	t.Helper()
	const module, margin = 4, 20
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	img := image.NewGray(image.Rect(0, 0, len(lines)*2*module+2*margin, len(lines)*2*module+2*margin))
	paint := func(x, y int, dark bool) {
		for i := range module * module {
			if c := (color.Gray{Y: 0xff}); !dark {
				img.SetGray(margin+x*module+i%module, margin+y*module+i/module, c)
			}
		}
	}
	for y, line := range lines {
		line, said := strings.CutPrefix(line, "\x1b[30;107m")
		line, ended := strings.CutSuffix(line, "\x1b[0m")
		if !said || !ended {
			t.Fatalf("line %d: %q doesn't say its colours, or doesn't end them", y, line)
		}
		for x, r := range []rune(line) {
			paint(x, 2*y, r == '█' || r == '▀')
			paint(x, 2*y+1, r == '█' || r == '▄')
		}
	}
	return img
}
