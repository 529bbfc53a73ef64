package blob

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	gblob "gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
)

// OpenGCS opens gs://bucket/prefix with the application default credentials. Parameters are those of
// gocloud.dev/blob/gcsblob (access_id, private_key_path, anonymous); STORAGE_EMULATOR_HOST is honoured.
func OpenGCS(ctx context.Context, u *url.URL) (*Bucket, error) { return openCDK(ctx, u) }

// OpenAzure opens azblob://container/prefix. The account comes from AZURE_STORAGE_ACCOUNT, the credentials from
// AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_CONNECTION_STRING or the default chain; parameters are those of
// gocloud.dev/blob/azureblob (domain, protocol, cdn, localemu, storage_account).
func OpenAzure(ctx context.Context, u *url.URL) (*Bucket, error) {
	b, err := openCDK(ctx, u)
	if err == nil {
		b.readers = true
	}
	return b, err
}

func openCDK(ctx context.Context, u *url.URL) (*Bucket, error) {
	name := u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")
	if u.Host == "" {
		return nil, fmt.Errorf("open %s: %w", name, errors.New("the URL names no bucket"))
	}
	bucketURL := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}
	b, err := gblob.OpenBucket(ctx, bucketURL.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return New(b, name, u.Path), nil
}
