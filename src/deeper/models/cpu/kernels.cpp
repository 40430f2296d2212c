// Layers on a CPU that read and write memory less often than torch's, or multiply less often. The
// modules beside call them.
//
// Tensors are channels_last: rows of `channels` values, one row a pixel. Gradients may lie further
// apart, `stride` values from row to row, as parts of a concatenation do. Sums are float within a
// block of rows and double beyond it, and each thread's part is added in order, so that a result
// depends on the number of threads alone. Compiled twice: with BFLOAT16 defined, and without.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

constexpr int64_t BLOCK = 64;  // rows whose sum is float
constexpr int64_t WIDEST = 32;  // values in a register of the widest processors

#ifdef BFLOAT16
using Value = uint16_t;  // the upper half of a float
using Integer = int16_t;
constexpr Integer INFINITE = 0x7f80;

static inline float load(Value x) {
    const uint32_t bits = uint32_t(x) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof bits);
    return result;
}

static inline void store(Value* to, float x) {  // the nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    *to = Value(x != x ? 0x7fc0 : nearest);
}
#else
using Value = float;
using Integer = int32_t;
constexpr Integer INFINITE = 0x7f800000;

static inline float load(Value x) { return x; }
static inline void store(Value* to, float x) { *to = x; }
#endif

// Calls work(thread, first, last) in each thread, on its share of `rows`.
template <class Work>
static void in_threads(int64_t threads, int64_t rows, const Work& work) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int64_t thread = 0; thread < threads; ++thread)
        work(thread, rows * thread / threads, rows * (thread + 1) / threads);
}

// Rows of `channels` values, several of them taken as one long row so that loops fill whole vectors.
struct LongRows {
    int64_t rows, channels, together, width, count;

    LongRows(int64_t rows, int64_t channels)
        : rows(rows),
          channels(channels),
          together(WIDEST / std::gcd(channels, WIDEST) * std::max<int64_t>(1, 128 / channels)),
          width(together * channels),
          count((rows + together - 1) / together) {}

    int64_t values(int64_t row) const { return std::min(width, rows * channels - row * width); }

    // A value a channel, as often as the channel is in a long row.
    std::vector<float> repeat(const float* from) const {
        std::vector<float> result;
        for (int64_t i = 0; i < together; ++i) result.insert(result.end(), from, from + channels);
        return result;
    }

    // Long row `row` of values that lie `stride` apart, which are copied to `buffer` if need be.
    const Value* gather(const Value* from, int64_t stride, int64_t row, Value* buffer) const {
        if (stride == channels) return from + row * width;
        const int64_t first = row * together, size = std::min(together, rows - first);
        for (int64_t i = 0; i < size; ++i)
            std::memcpy(buffer + i * channels, from + (first + i) * stride,
                        channels * sizeof(Value));
        return buffer;
    }
};

// Two sums for each channel: add(row, buffer, first, second) adds a long row's terms to them.
template <class Add>
static std::vector<double> two_sums(int64_t threads, const LongRows& long_rows, const Add& add) {
    const int64_t width = long_rows.width, channels = long_rows.channels;
    std::vector<double> parts(threads * 2 * channels, 0.0);
    in_threads(threads, long_rows.count, [&](int64_t thread, int64_t first, int64_t last) {
        std::vector<float> block(2 * width);
        std::vector<Value> buffer(2 * width);
        double* part = parts.data() + thread * 2 * channels;
        for (int64_t start = first; start < last; start += BLOCK) {
            std::fill(block.begin(), block.end(), 0.0f);
            for (int64_t row = start; row < std::min(start + BLOCK, last); ++row)
                add(row, buffer.data(), block.data(), block.data() + width);
            const float* from = block.data();
            for (double* to : {part, part + channels})
                for (int64_t i = 0; i < long_rows.together; ++i)
                    for (int64_t c = 0; c < channels; ++c) to[c] += *from++;
        }
    });
    for (int64_t thread = 1; thread < threads; ++thread)
        for (int64_t i = 0; i < 2 * channels; ++i) parts[i] += parts[thread * 2 * channels + i];
    parts.resize(2 * channels);
    return parts;
}

// mean and variance of each channel; scale and shift, with which x·scale + shift is normalised.
static void statistics(const Value* x, int64_t stride, const LongRows& all, const float* weight,
                       const float* bias, float eps, float* mean, float* variance, float* scale,
                       float* shift, int64_t threads) {
    const int64_t rows = all.rows, channels = all.channels;
    // Squares are of distances from about the mean, that of some rows, so that they do not cancel.
    std::vector<float> origin(channels, 0.0f);
    const int64_t samples = std::min(rows, BLOCK);
    for (int64_t i = 0; i < samples; ++i)
        for (int64_t c = 0; c < channels; ++c)
            origin[c] += load(x[rows * i / samples * stride + c]) / samples;
    const std::vector<float> origins = all.repeat(origin.data());
    const auto add = [&](int64_t row, Value* buffer, float* __restrict sum,
                         float* __restrict squares) {
        const Value* __restrict xs = all.gather(x, stride, row, buffer);
        const float* __restrict from = origins.data();
        for (int64_t i = 0, n = all.values(row); i < n; ++i) {
            const float distance = load(xs[i]) - from[i];
            sum[i] += distance;
            squares[i] += distance * distance;
        }
    };
    const std::vector<double> sums = two_sums(threads, all, add);
    for (int64_t c = 0; c < channels; ++c) {
        const double distance = sums[c] / rows;
        mean[c] = float(origin[c] + distance);
        const double found = sums[channels + c] / rows - distance * distance;
        variance[c] = float(found < 0 ? 0 : found);  // NaN stays NaN
        scale[c] = weight[c] / std::sqrt(variance[c] + eps);
        shift[c] = bias[c] - mean[c] * scale[c];
    }
}

// y = relu(x·scale + shift)
extern "C" void batch_norm_relu_forward(const Value* x, int64_t stride, int64_t rows,
                                        int64_t channels, const float* weight, const float* bias,
                                        float eps, Value* y, float* mean, float* variance,
                                        float* scale, float* shift, int64_t threads) {
    const LongRows all(rows, channels);
    statistics(x, stride, all, weight, bias, eps, mean, variance, scale, shift, threads);
    const std::vector<float> scales = all.repeat(scale), shifts = all.repeat(shift);
    in_threads(threads, all.count, [&](int64_t, int64_t first, int64_t last) {
        std::vector<Value> buffer(all.width);
        for (int64_t row = first; row < last; ++row) {
            const Value* __restrict xs = all.gather(x, stride, row, buffer.data());
            const float *__restrict by = scales.data(), *__restrict plus = shifts.data();
            Value* __restrict ys = y + row * all.width;
            for (int64_t i = 0, n = all.values(row); i < n; ++i) {
                const float value = load(xs[i]) * by[i] + plus[i];
                store(ys + i, value < 0.0f ? 0.0f : value);
            }
        }
    });
}

// Gradients of weight and bias; that of x, one of `pixels` a channel, is scale·g + slope·x + offset.
// Rows of `x` without a gradient may be left out. The ReLU's mask is computed again from x.
static void gradient_sums(const Value* grad, int64_t stride, const Value* x, int64_t x_stride,
                          const LongRows& all, int64_t pixels, float eps, const float* mean,
                          const float* variance, const float* scale, const float* shift,
                          float* grad_weight, float* grad_bias, float* slope, float* offset,
                          int64_t threads) {
    const std::vector<float> means = all.repeat(mean), scales = all.repeat(scale),
                             shifts = all.repeat(shift);
    const auto add = [&](int64_t row, Value* buffer, float* __restrict sum,
                         float* __restrict products) {
        const Value* __restrict xs = all.gather(x, x_stride, row, buffer);
        const Value* __restrict gs = all.gather(grad, stride, row, buffer + all.width);
        const float *__restrict by = scales.data(), *__restrict plus = shifts.data();
        const float* __restrict from = means.data();
        for (int64_t i = 0, n = all.values(row); i < n; ++i) {
            const float value = load(xs[i]);
            const float g = value * by[i] + plus[i] > 0.0f ? load(gs[i]) : 0.0f;
            sum[i] += g;
            products[i] += g * (value - from[i]);
        }
    };
    const std::vector<double> sums = two_sums(threads, all, add);
    for (int64_t c = 0, channels = all.channels; c < channels; ++c) {
        const double inverse = 1 / std::sqrt(double(variance[c]) + eps);
        grad_bias[c] = float(sums[c]);
        grad_weight[c] = float(sums[channels + c] * inverse);
        slope[c] = float(-scale[c] * inverse * inverse * sums[channels + c] / pixels);
        offset[c] = float(-scale[c] * sums[c] / pixels - slope[c] * double(mean[c]));
    }
}

extern "C" void batch_norm_relu_backward(const Value* grad, int64_t stride, const Value* x,
                                         int64_t x_stride, int64_t rows, int64_t channels,
                                         float eps, const float* mean, const float* variance,
                                         const float* scale, const float* shift, Value* grad_x,
                                         float* grad_weight, float* grad_bias, int64_t threads) {
    const LongRows all(rows, channels);
    std::vector<float> slope(channels), offset(channels);
    gradient_sums(grad, stride, x, x_stride, all, rows, eps, mean, variance, scale, shift,
                  grad_weight, grad_bias, slope.data(), offset.data(), threads);
    const std::vector<float> scales = all.repeat(scale), shifts = all.repeat(shift);
    const std::vector<float> slopes = all.repeat(slope.data()), offsets = all.repeat(offset.data());
    in_threads(threads, all.count, [&](int64_t, int64_t first, int64_t last) {
        std::vector<Value> buffer(2 * all.width);
        for (int64_t row = first; row < last; ++row) {
            const Value* __restrict xs = all.gather(x, x_stride, row, buffer.data());
            const Value* __restrict gs = all.gather(grad, stride, row, buffer.data() + all.width);
            const float *__restrict by = scales.data(), *__restrict plus = shifts.data();
            const float *__restrict times = slopes.data(), *__restrict rest = offsets.data();
            Value* __restrict out = grad_x + row * all.width;
            for (int64_t i = 0, n = all.values(row); i < n; ++i) {
                const float value = load(xs[i]);
                const float g = value * by[i] + plus[i] > 0.0f ? load(gs[i]) : 0.0f;
                store(out + i, by[i] * g + times[i] * value + rest[i]);
            }
        }
    });
}

#if defined(__AVX512BW__)
constexpr int64_t REGISTER = 64;  // bytes of a register for vectors
#elif defined(__AVX2__)
constexpr int64_t REGISTER = 32;
#else
constexpr int64_t REGISTER = 16;
#endif

// `count` values of type T as one value, an extension that GCC and Clang have. Compilers keep it in a
// register; an array they store and load again for each pixel.
template <class T, int64_t count>
struct VectorOf {
    typedef T type __attribute__((vector_size(count * sizeof(T))));
};
template <class T, int64_t count>
using Vector = typename VectorOf<T, count>::type;

template <class Result, class T>
static inline Result vector_at(const T* from) {
    Result result;
    std::memcpy(&result, from, sizeof result);
    return result;
}

template <class Result, class T>
static inline Result everywhere(T value) { return Result{} + value; }

// The bits of `count` values as floats.
template <int64_t count>
static inline Vector<int32_t, count> float_bits(const Value* from) {
    if constexpr (sizeof(Value) == sizeof(float)) return vector_at<Vector<int32_t, count>>(from);
    float floats[count];
    for (int64_t i = 0; i < count; ++i) floats[i] = load(from[i]);
    return vector_at<Vector<int32_t, count>>(floats);
}

// An integer in the order of the value with these bits, which must be no NaN; its own inverse.
template <class Integers>
static inline Integers ordered(Integers bits) {
    constexpr Integer largest = std::numeric_limits<Integer>::max();
    return bits ^ ((bits >> Integer(8 * sizeof(Integer) - 1)) & largest);
}

// The same with NaN above all.
template <class Integers>
static inline Integers ordered_or_nan(Integers bits) {
    constexpr Integer largest = std::numeric_limits<Integer>::max();
    return (bits & largest) > INFINITE ? everywhere<Integers>(largest) : ordered(bits);
}

// Calls work(first, count) for parts of the channels, where `count` is a constant: the largest power
// of two that fits, at most four registers of floats. The last part may overlap the one before it,
// whose values it writes again.
template <int64_t count = REGISTER, class Work>
static void by_parts(int64_t channels, const Work& work) {
    if (channels >= count) {
        for (int64_t first = 0; first + count < channels; first += count)
            work(first, std::integral_constant<int64_t, count>{});
        work(channels - count, std::integral_constant<int64_t, count>{});
    } else if constexpr (count > 1) {
        by_parts<count / 2>(channels, work);
    }
}

struct Pool {
    int64_t batch, height, width, channels, out_height, out_width, kernel, stride, padding;

    // Calls work(window, channel, count, place, visit) for each window and part of the channels,
    // where `place` is that of the window's first pixel, and visit(f) calls f(place, index of the
    // first value) for each of its pixels.
    template <class Work>
    void windows(int64_t threads, const Work& work) const {
        in_threads(threads, batch * out_height, [&](int64_t, int64_t first, int64_t last) {
            for (int64_t window = first * out_width; window < last * out_width; ++window) {
                const int64_t line = window / out_width, image = line / out_height;
                const int64_t top = line % out_height * stride - padding;
                const int64_t left = window % out_width * stride - padding;
                const int64_t i0 = std::max<int64_t>(-top, 0), i1 = std::min(kernel, height - top);
                const int64_t j0 = std::max<int64_t>(-left, 0), j1 = std::min(kernel, width - left);
                by_parts(channels, [&](int64_t channel, auto count) {
                    work(window, channel, count, i0 * kernel + j0, [&](const auto& pixel_work) {
                        for (int64_t i = i0; i < i1; ++i)
                            for (int64_t j = j0; j < j1; ++j) {
                                const int64_t pixel = (image * height + top + i) * width + left + j;
                                pixel_work(i * kernel + j, pixel * channels + channel);
                            }
                    });
                });
            }
        });
    }

    // The first window, in one direction, that has pixel `at` of the padded image.
    int64_t first_window(int64_t at) const { return at < kernel ? 0 : (at - kernel) / stride + 1; }

    // For each pixel and part of the channels finish(at, channel, count, sum), where `sum` are the
    // gradients of the windows that took their value from it and `at` is the index of the first.
    template <class Finish>
    void pixels(int64_t threads, const Value* grad, int64_t grad_stride, const uint8_t* index,
                const Finish& finish) const {
        // Captured by copy: through references the compiler loads sizes again after each store.
        in_threads(threads, batch * height, [=, *this, &finish](int64_t, int64_t first, int64_t last) {
            for (int64_t pixel = first * width; pixel < last * width; ++pixel) {
                const int64_t line = pixel / width, image = line / height;
                const int64_t row = line % height + padding, column = pixel % width + padding;
                const int64_t y1 = std::min(row / stride + 1, out_height);
                const int64_t x1 = std::min(column / stride + 1, out_width);
                by_parts(channels, [&](int64_t channel, auto count) {
                    constexpr int64_t size = std::min<int64_t>(count, REGISTER / sizeof(float));
                    constexpr int64_t vectors = count / size;
                    using Floats = Vector<float, size>;
                    using Masks = Vector<int32_t, size>;
                    Floats sum[vectors] = {};
                    for (int64_t y = first_window(row); y < y1; ++y)
                        for (int64_t x = first_window(column); x < x1; ++x) {
                            const int64_t window = (image * out_height + y) * out_width + x;
                            const uint8_t here =
                                uint8_t((row - y * stride) * kernel + column - x * stride);
                            const Value* gs = grad + window * grad_stride + channel;
                            const uint8_t* places = index + window * channels + channel;
#pragma GCC unroll 4
                            for (int64_t v = 0; v < vectors; ++v) {
                                const auto at = vector_at<Vector<uint8_t, size>>(places + v * size);
                                // Of a comparison of bytes ARM's Clang takes the result for unsigned.
                                const auto taken = Vector<int8_t, size>(at == here);
                                const auto mask = __builtin_convertvector(taken, Masks);
                                sum[v] += Floats(float_bits<size>(gs + v * size) & mask);
                            }
                        }
                    float sums[count];
                    for (int64_t v = 0; v < vectors; ++v)
                        std::memcpy(sums + v * size, &sum[v], sizeof sum[v]);
                    finish(pixel * channels + channel, channel, count, sums);
                });
            }
        });
    }
};

// Of each window the first of the largest values, or of the smallest where `signs` has the bit of
// the sign: write(index of the first value, its channel, count, values); `index` gets its place, row
// by row.
template <class Write>
static void largest(const Value* x, const Pool& p, const Integer* signs, uint8_t* index,
                    int64_t threads, const Write& write) {
    const Integer* bits = reinterpret_cast<const Integer*>(x);
    p.windows(threads, [&](int64_t window, int64_t channel, auto count, int64_t start, auto visit) {
        constexpr int64_t size = std::min<int64_t>(count, REGISTER / sizeof(Integer));
        constexpr int64_t vectors = count / size;
        using Integers = Vector<Integer, size>;
        Integers best[vectors], place[vectors], flip[vectors];
        for (int64_t v = 0; v < vectors; ++v) {
            best[v] = everywhere<Integers>(std::numeric_limits<Integer>::min());
            place[v] = everywhere<Integers>(Integer(start));
            flip[v] = vector_at<Integers>(signs + channel + v * size);
        }
        visit([&](int64_t here, int64_t at) {
#pragma GCC unroll 4
            for (int64_t v = 0; v < vectors; ++v) {
                const auto xs = vector_at<Integers>(bits + at + v * size);
                const auto value = ordered_or_nan(xs ^ flip[v]);
                const auto larger = value > best[v];
                best[v] = larger ? value : best[v];
                place[v] = larger ? everywhere<Integers>(Integer(here)) : place[v];
            }
        });
        for (int64_t v = 0; v < vectors; ++v) best[v] = ordered(best[v]) ^ flip[v];
        Integer values[count], places[count];
        std::memcpy(values, best, sizeof values);
        std::memcpy(places, place, sizeof places);
        const int64_t to = window * p.channels + channel;
        write(to, channel, count, values);
        uint8_t* __restrict indices = index + to;
        for (int64_t c = 0; c < count; ++c) indices[c] = uint8_t(places[c]);
    });
}

extern "C" void max_pool_forward(const Value* x, const Pool& p, Value* y, uint8_t* index,
                                 int64_t threads) {
    const std::vector<Integer> signs(p.channels, 0);
    largest(x, p, signs.data(), index, threads,
            [&](int64_t to, int64_t, auto count, const Integer* values) {
        std::memcpy(y + to, values, count * sizeof(Value));
    });
}

extern "C" void max_pool_backward(const Value* grad, int64_t stride, const uint8_t* index,
                                  const Pool& p, Value* grad_x, int64_t threads) {
    p.pixels(threads, grad, stride, index, [&](int64_t at, int64_t, auto count, const float* sum) {
        Value* __restrict out = grad_x + at;
        for (int64_t c = 0; c < count; ++c) store(out + c, sum[c]);
    });
}

// y = max_pool(relu(x·scale + shift)); `source` is the x from which a value of y comes.
extern "C" void batch_norm_relu_pool_forward(const Value* x, const Pool& p, const float* weight,
                                             const float* bias, float eps, Value* y, Value* source,
                                             uint8_t* index, float* mean, float* variance,
                                             float* scale, float* shift, int64_t threads) {
    const LongRows all(p.batch * p.height * p.width, p.channels);
    statistics(x, p.channels, all, weight, bias, eps, mean, variance, scale, shift, threads);
    std::vector<Integer> signs(p.channels);
    for (int64_t c = 0; c < p.channels; ++c)
        signs[c] = scale[c] < 0 ? std::numeric_limits<Integer>::min() : 0;
    largest(x, p, signs.data(), index, threads,
            [&](int64_t to, int64_t channel, auto count, const Integer* xs) {
        const float *__restrict by = scale + channel, *__restrict plus = shift + channel;
        Value *__restrict from = source + to, *__restrict out = y + to;
        std::memcpy(from, xs, count * sizeof(Value));
        for (int64_t c = 0; c < count; ++c) {
            const float value = load(from[c]) * by[c] + plus[c];
            store(out + c, value < 0.0f ? 0.0f : value);
        }
    });
}

extern "C" void batch_norm_relu_pool_backward(const Value* grad, int64_t stride, const Value* x,
                                              const Value* source, const uint8_t* index,
                                              const Pool& p, float eps, const float* mean,
                                              const float* variance, const float* scale,
                                              const float* shift, Value* grad_x,
                                              float* grad_weight, float* grad_bias,
                                              int64_t threads) {
    const int64_t pixels = p.batch * p.height * p.width;
    const LongRows windows(p.batch * p.out_height * p.out_width, p.channels);
    std::vector<float> slope(p.channels), offset(p.channels);
    gradient_sums(grad, stride, source, p.channels, windows, pixels, eps, mean, variance, scale,
                  shift, grad_weight, grad_bias, slope.data(), offset.data(), threads);
    p.pixels(threads, grad, stride, index,
             [&](int64_t at, int64_t channel, auto count, const float* sum) {
        const Value* __restrict xs = x + at;
        const float *__restrict by = scale + channel, *__restrict plus = shift + channel;
        const float *__restrict times = slope.data() + channel;
        const float *__restrict rest = offset.data() + channel;
        Value* __restrict out = grad_x + at;
        for (int64_t c = 0; c < count; ++c) {
            const float value = load(xs[c]);
            const float g = value * by[c] + plus[c] > 0.0f ? sum[c] : 0.0f;
            store(out + c, by[c] * g + times[c] * value + rest[c]);
        }
    });
}

// Calls work(power), where power(scale) = scale^-beta. The published exponents are square roots; each is
// a function of its own, since compilers vectorise no loop that chooses among them.
template <class Work>
static void with_power(float beta, const Work& work) {
    if (beta == 0.75f)
        work([](float scale) { return 1 / (std::sqrt(scale) * std::sqrt(std::sqrt(scale))); });
    else if (beta == 0.5f)
        work([](float scale) { return 1 / std::sqrt(scale); });
    else
        work([beta](float scale) { return std::pow(scale, -beta); });
}

// to[c] = Σ from[c - below … c + above]; `from` has that many zeros on either side.
static inline void window_sum(const float* __restrict from, int64_t below, int64_t above,
                              int64_t channels, float* __restrict to) {
    for (int64_t c = 0; c < channels; ++c) to[c] = 0;
    for (int64_t shift = -below; shift <= above; ++shift)
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c + shift];
}

// y = x·s^-beta with s = k + alpha · Σ x² over `below` and `above` neighbours of a channel; alpha
// is the formula's, divided by the size of the window.
extern "C" void lrn_forward(const Value* x, int64_t rows, int64_t channels, int64_t below,
                            int64_t above, float alpha, float beta, float k, Value* y,
                            int64_t threads) {
    with_power(beta, [&](const auto& power) {
        in_threads(threads, rows, [&](int64_t, int64_t first, int64_t last) {
            std::vector<float> padded(channels + below + above, 0.0f), sums(channels);
            float* __restrict squares = padded.data() + below;
            float* __restrict sum = sums.data();
            for (int64_t row = first; row < last; ++row) {
                const Value* __restrict xs = x + row * channels;
                Value* __restrict ys = y + row * channels;
                for (int64_t c = 0; c < channels; ++c) squares[c] = load(xs[c]) * load(xs[c]);
                window_sum(squares, below, above, channels, sum);
                for (int64_t c = 0; c < channels; ++c)
                    store(ys + c, load(xs[c]) * power(sum[c] * alpha + k));
            }
        });
    });
}

// dx = g·s^-beta − 2·alpha·beta·x · Σ g·x·s^(-beta-1), the sum over the mirrored window.
extern "C" void lrn_backward(const Value* grad, int64_t stride, const Value* x, int64_t rows,
                             int64_t channels, int64_t below, int64_t above, float alpha,
                             float beta, float k, Value* grad_x, int64_t threads) {
    with_power(beta, [&](const auto& power) {
        in_threads(threads, rows, [&](int64_t, int64_t first, int64_t last) {
            const int64_t ends = below + above;
            std::vector<float> padded(channels + 2 * ends, 0.0f), sums(channels), factors(channels);
            float* __restrict terms = padded.data() + ends;
            float* __restrict sum = sums.data();
            float* __restrict direct = factors.data();
            for (int64_t row = first; row < last; ++row) {
                const Value* __restrict xs = x + row * channels;
                const Value* __restrict gs = grad + row * stride;
                Value* __restrict out = grad_x + row * channels;
                for (int64_t c = 0; c < channels; ++c) terms[c] = load(xs[c]) * load(xs[c]);
                window_sum(terms, below, above, channels, sum);
                for (int64_t c = 0; c < channels; ++c) {
                    const float scale = sum[c] * alpha + k;
                    direct[c] = load(gs[c]) * power(scale);
                    terms[c] = direct[c] * load(xs[c]) / scale;
                }
                window_sum(terms, above, below, channels, sum);
                for (int64_t c = 0; c < channels; ++c)
                    store(out + c, direct[c] - 2 * alpha * beta * load(xs[c]) * sum[c]);
            }
        });
    });
}

#ifndef BFLOAT16
// Winograd's convolution of 3×3 pixels, padded by 1 (Lavin & Gray, 2016, §4.2: F(4×4, 3×3)). A tile is
// 4×4 pixels of the result and 6×6 of the images, those around it included; the last ones of an
// image may reach beyond it. Channels are a multiple of LANES.
constexpr int64_t LANES = 8;
using Lanes = Vector<float, LANES>;

struct Tiles {
    int64_t batch, height, width, channels;

    int64_t down() const { return (height + 3) / 4; }
    int64_t across() const { return (width + 3) / 4; }
    int64_t count() const { return batch * down() * across(); }

    // Calls visit(pixel of the tile, offset of the pixel's first value) for those within the image,
    // for the tile enlarged by `border` pixels on each side.
    template <class Visit>
    void pixels(int64_t tile, int64_t border, const Visit& visit) const {
        const int64_t image = tile / (down() * across()), side = 4 + 2 * border;
        const int64_t top = tile / across() % down() * 4 - border;
        const int64_t left = tile % across() * 4 - border;
        for (int64_t i = std::max<int64_t>(0, -top); i < std::min(side, height - top); ++i)
            for (int64_t j = std::max<int64_t>(0, -left); j < std::min(side, width - left); ++j)
                visit(6 * i + j, ((image * height + top + i) * width + left + j) * channels);
    }
};

// Bᵀ·d of six values that lie `step` apart, in place.
static inline void transform_input(Lanes* d, int64_t step) {
    const Lanes d0 = d[0], d1 = d[step], d2 = d[2 * step];
    const Lanes d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const Lanes even1 = d4 - 4 * d2, odd1 = d3 - 4 * d1, even2 = d4 - d2, odd2 = 2 * (d3 - d1);
    d[0] = 4 * d0 - 5 * d2 + d4;
    d[step] = even1 + odd1;
    d[2 * step] = even1 - odd1;
    d[3 * step] = even2 + odd2;
    d[4 * step] = even2 - odd2;
    d[5 * step] = 4 * d1 - 5 * d3 + d5;
}

// Aᵀ·m, four values of six, in place.
static inline void transform_output(Lanes* m, int64_t step) {
    const Lanes m0 = m[0], m5 = m[5 * step];
    const Lanes sum1 = m[step] + m[2 * step], difference1 = m[step] - m[2 * step];
    const Lanes sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
    m[0] = m0 + sum1 + sum2;
    m[step] = difference1 + 2 * difference2;
    m[2 * step] = sum1 + 4 * sum2;
    m[3 * step] = difference1 + 8 * difference2 + m5;
}

// x → transformed [36, tiles, channels]
extern "C" void winograd_input(const float* x, const Tiles* tiles, float* transformed,
                               int64_t threads) {
    const int64_t count = tiles->count(), channels = tiles->channels;
    in_threads(threads, count, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t tile = first; tile < last; ++tile)
            for (int64_t c = 0; c < channels; c += LANES) {
                Lanes d[36] = {};
                tiles->pixels(tile, 1, [&](int64_t pixel, int64_t at) {
                    d[pixel] = vector_at<Lanes>(x + at + c);
                });
                for (int64_t j = 0; j < 6; ++j) transform_input(d + j, 6);
                for (int64_t i = 0; i < 6; ++i) transform_input(d + 6 * i, 1);
                for (int64_t k = 0; k < 36; ++k)
                    std::memcpy(transformed + (k * count + tile) * channels + c, d + k, sizeof *d);
            }
    });
}

// products [36, tiles, channels] → y, plus the bias, and with `relu` rectified
extern "C" void winograd_output(const float* products, const float* bias, int64_t relu,
                                const Tiles* tiles, float* y, int64_t threads) {
    const int64_t count = tiles->count(), channels = tiles->channels;
    in_threads(threads, count, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t tile = first; tile < last; ++tile)
            for (int64_t c = 0; c < channels; c += LANES) {
                Lanes m[36];
                for (int64_t k = 0; k < 36; ++k)
                    m[k] = vector_at<Lanes>(products + (k * count + tile) * channels + c);
                for (int64_t j = 0; j < 6; ++j) transform_output(m + j, 6);
                for (int64_t i = 0; i < 4; ++i) transform_output(m + 6 * i, 1);
                const Lanes plus = vector_at<Lanes>(bias + c);
                tiles->pixels(tile, 0, [&](int64_t pixel, int64_t at) {
                    Lanes value = m[pixel] + plus;
                    if (relu) value = value < 0 ? Lanes{} : value;  // NaN stays NaN
                    std::memcpy(y + at + c, &value, sizeof value);
                });
            }
    });
}
#endif
