package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob/s3blob"

	"sluice.io/sluice/connectors/store"
)

// OpenS3 opens s3://bucket/prefix. Credentials, region and endpoint come from the environment and files that all AWS tools
// read (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL,
// AWS_ENDPOINT_URL_S3; AWS_ALLOW_HTTP as other lakehouse tools have it); parameters of the URL come first:
//
//	region=eu-central-1
//	endpoint=http://127.0.0.1:9000   a store that speaks S3
//	path_style=true|false            host/bucket/key; the default where an endpoint is given
//	allow_http=true|false            whether the endpoint may be http://
//	profile=name                     of the shared credentials file
//	anonymous=true                   requests without a signature
func OpenS3(ctx context.Context, u *url.URL) (*Bucket, error) {
	fail := func(err error) (*Bucket, error) { return nil, fmt.Errorf("open s3://%s%s: %w", u.Host, u.Path, err) }
	if u.Host == "" {
		return fail(errors.New("the URL names no bucket"))
	}
	q := u.Query()
	known := map[string]bool{"region": true, "endpoint": true, "path_style": true, "use_path_style": true, "s3ForcePathStyle": true,
		"allow_http": true, "profile": true, "anonymous": true}
	for k := range q {
		if !known[k] {
			return fail(fmt.Errorf("unknown parameter %q (region, endpoint, path_style, allow_http, profile, anonymous)", k))
		}
	}
	flag := func(def bool, names ...string) (bool, error) {
		for _, n := range names {
			v := q.Get(n)
			if v == "" {
				continue
			}
			b, err := strconv.ParseBool(v)
			if err != nil {
				return false, fmt.Errorf("parameter %s=%s is neither true nor false", n, v)
			}
			return b, nil
		}
		return def, nil
	}
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	endpoint := first(q.Get("endpoint"), os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), os.Getenv("AWS_ENDPOINT"))
	if endpoint != "" && !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	envHTTP := true
	if v := os.Getenv("AWS_ALLOW_HTTP"); v != "" {
		b, err := strconv.ParseBool(v)
		envHTTP = err == nil && b || v == "1"
	}
	allowHTTP, err := flag(envHTTP, "allow_http")
	if err != nil {
		return fail(err)
	}
	if strings.HasPrefix(endpoint, "http://") && !allowHTTP {
		return fail(fmt.Errorf("the endpoint %s is not https and allow_http (AWS_ALLOW_HTTP) is false", endpoint))
	}
	pathStyle, err := flag(endpoint != "" && !strings.EqualFold(os.Getenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"), "true"),
		"path_style", "use_path_style", "s3ForcePathStyle")
	if err != nil {
		return fail(err)
	}
	anonymous, err := flag(false, "anonymous")
	if err != nil {
		return fail(err)
	}
	var load []func(*config.LoadOptions) error
	if r := first(q.Get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")); r != "" {
		load = append(load, config.WithRegion(r))
	}
	if p := q.Get("profile"); p != "" {
		load = append(load, config.WithSharedConfigProfile(p))
	}
	if anonymous {
		load = append(load, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return fail(err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if endpoint != "" {
		cfg.BaseEndpoint = aws.String(endpoint)
		// Stores other than AWS do not all know the newer checksums.
		cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		cfg.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	style := func(o *s3.Options) { o.UsePathStyle = pathStyle }
	client := s3.NewFromConfig(cfg, style)
	// Whether a write that failed took effect must stay visible: no retries behind our back (D3).
	once := s3.NewFromConfig(cfg, style, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	gb, err := s3blob.OpenBucket(ctx, client, u.Host, nil)
	if err != nil {
		return fail(err)
	}
	b := New(gb, "s3://"+u.Host+strings.TrimSuffix(u.Path, "/"), u.Path)
	b.putIfAbsent = func(ctx context.Context, key string, data []byte) error {
		_, err := once.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(u.Host), Key: aws.String(key),
			Body: bytes.NewReader(data), IfNoneMatch: aws.String("*"), ContentType: aws.String(contentType),
			ContentLength: aws.Int64(int64(len(data)))})
		return err
	}
	return b, nil
}

// Probe finds out whether the store keeps its word on conditional writes: it writes key twice and wants the second write
// refused. A store that does not is refused with a sentence.
func (b *Bucket) Probe(ctx context.Context, key string) error {
	return Probe(ctx, b, key)
}

// Probe is Bucket.Probe for any bucket.
func Probe(ctx context.Context, b store.Bucket, key string) error {
	if err := b.Put(ctx, key, []byte("probe")); err != nil {
		return fmt.Errorf("probe %s: %w", b.URL(), err)
	}
	err := b.PutIfAbsent(ctx, key, []byte("probe"))
	cleanup := b.Delete(ctx, key)
	switch {
	case errors.Is(err, store.ErrExists):
		return cleanup
	case err == nil:
		return fmt.Errorf("%s overwrites objects although If-None-Match was sent: commits of two writers would be lost, "+
			"a store with conditional writes is needed", b.URL())
	}
	return fmt.Errorf("probe %s: %w", b.URL(), err)
}
