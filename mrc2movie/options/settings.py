"""Every option, declared once: the command line, the API, the validation and the record derive from here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

from mrc2movie.errors import UsageError
from mrc2movie.options import kinds
from mrc2movie.options.codecs import CODECS, FORMATS, OTHER_NAMES, choose, find_codec, require_small
from mrc2movie.options.kinds import Kind
from mrc2movie.options.presets import AUTO_PRESET, IMAGE_SECONDS, PRESETS, in_words

Class = TypeVar("Class")

GROUPS = (
    "presets",
    "movie",
    "sections",
    "picture",
    "layout",
    "labels",
    "collections",
    "beside the movie",
    "batch",
    "messages",
)
MOVIE_GROUPS = ("presets", "movie", "sections", "picture", "layout", "labels", "collections")
"""The groups whose options shape the movie: with other values it is made anew."""
GROUPS = (*MOVIE_GROUPS, "beside the movie", "batch", "messages")

LOG_NAME = "mrc2movie.log"
TOKEN_VARIABLE = "MRC2MOVIE_CALLBACK_TOKEN"
"""The environment variable of the bearer token of ``--callback``: words of a command are seen by all users."""

_CHOOSING = ("discard_range", "discard_percentage", "only")
"""Each would say anew which sections are left."""

_CODEC_WORDS = {**{name: name for name in CODECS}, **OTHER_NAMES}
_LABEL_WORDS = {name: name for name in ("none", *kinds.LABELS)}


@dataclass(frozen=True)
class Option:
    """One field of `Settings` as the command line and the help see it."""

    name: str
    default: object
    kind: Kind
    group: str
    help: str
    default_text: str
    short: str

    @property
    def flag(self) -> str:
        """The long option: ``clip_limit`` is ``--clip-limit``."""
        return "--" + self.name.replace("_", "-")


def _option(default: Any, kind: Kind, group: str, help: str, default_text: str = "", short: str = "") -> Any:
    metadata = {"kind": kind, "group": group, "help": help, "default_text": default_text, "short": short}
    return field(default=default, metadata=metadata)


def _remember_what_is_given(settings: type[Class]) -> type[Class]:
    """Let `Settings` know which options it was given, which a dataclass cannot tell from defaults.

    `dataclasses.replace` passes all fields, `given` among them: of these only what differs from before is given anew.
    """
    init: Callable[..., None] = vars(settings)["__init__"]

    @wraps(init)
    def remembering(self: Class, *, given: Mapping[str, object] | None = None, **options: object) -> None:
        if given is not None:
            before = settings(**given)
            changed = {name: value for name, value in options.items() if value != getattr(before, name)}
            options = {**given, **changed}
        init(self, **options, given=options)

    setattr(settings, "__init__", remembering)  # noqa: B010
    return settings


@_remember_what_is_given
@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a user can choose; settings that are not allowed cannot be built.

    Text is accepted for numbers, as it comes from the command line. The meaning of each field is the help of the
    option of the same name (``mrc2movie --help``). With `dataclasses.replace` some of what was given
    changes, and a preset still fills in the rest.

    Raises:
        UsageError: A value is not allowed; the message names the flag, the value and what is allowed.
    """

    preset: Literal["tilt", "tomogram", "auto"] | None = _option(
        None,
        kinds.choice(*PRESETS, "auto"),
        "presets",
        "; ".join(f"{name} stands for {in_words(values)}" for name, values in PRESETS.items())
        + f"; a single image is held for {IMAGE_SECONDS:g} s"
        "; auto takes for each file the one that fits its name, tilts and shape, and says which; an option given "
        "beside it wins (--no-match-mean, --no-scale-bar and --label none switch off what a preset switches on)",
        "none",
    )
    fps: float = _option(
        30.0, kinds.number(float, 0.1, 1000, "FPS"), "movie", "sections (frames) a second in the movie"
    )
    format: str = _option(
        None,
        kinds.choice(*FORMATS),
        "movie",
        "the container: mp4 for PowerPoint, Keynote, browsers and phones, avi for ImageJ, IMOD and VLC, webm, mkv, "
        "mov, gif",
        "what the codec goes into, avi without one",
    )
    codec: str = _option(
        None,
        Kind(
            kinds.codec,
            f"a code of four letters or digits such as XVID, or one of {', '.join(CODECS)}",
            "CODEC",
            words=_CODEC_WORDS,
        ),
        "movie",
        f"the codec: {', '.join(CODECS)}, or, for avi, any that OpenCV knows by its four letters",
        "what is usual in the format: MJPG in avi, H264 in mp4, mov and mkv, VP9 in webm; with --small AV1 in mkv and "
        "webm",
    )
    quality: int = _option(
        90,
        kinds.number(int, 1, 100, "1..100"),
        "movie",
        "quality of the picture, the same in every codec; FFV1 and GIF lose nothing of grey pictures whatever it is, "
        "and codecs of OpenCV have their own",
        "90, in MP4 and MOV coarser where players need it",
    )
    small: bool = _option(
        False,
        kinds.flag(),
        "movie",
        "the smallest file instead of the fastest conversion: frames are predicted from each other (H264, HEVC, VP9, "
        "AV1), which pays where sections resemble their neighbours",
    )
    max_mb: float | None = _option(
        None,
        kinds.number(float, 0.01, 1_000_000, "MB"),
        "movie",
        "no movie larger than this many megabytes, for mail and chat: the best quality that fits, up to --quality",
        "any size",
    )
    playback: Literal["forward-backward", "forward", "backward"] = _option(
        "forward-backward",
        kinds.choice("forward-backward", "forward", "backward"),
        "movie",
        "direction; forward-backward shows no end twice, so that a loop is seamless",
    )
    hold: int = _option(
        0,
        kinds.number(int, 0, 100_000, "N"),
        "movie",
        "show the first and the last section for N frames more, each time that they are shown",
    )
    cycles: int = _option(
        1,
        kinds.number(int, 1, 100_000, "N"),
        "movie",
        "show all of it N times, for players that do not loop",
    )
    discard_range: tuple[int, int] | None = _option(
        None,
        Kind(kinds.section_range, "two whole numbers, A < B, and B not 0", ("A", "B")),
        "sections",
        "leave out the sections A to B-1 (counted from 0, in the order shown; negative numbers from the end, as in "
        "Python) and keep the rest",
        "none",
    )
    only: str | None = _option(
        None,
        Kind(kinds.section_slice, "A:B with whole numbers A < B, such as 10:20, -5: and 3:-3", "A:B"),
        "sections",
        "show the sections A to B-1 only, counted as for --discard-range; without A from the first one on, without B "
        "to the last one",
        "all",
    )
    discard_percentage: tuple[float, float] | None = _option(
        None,
        Kind(kinds.end_fractions, "two fractions of 0 or more with a sum below 1, where 0.1 means 10 %", ("A", "B")),
        "sections",
        "leave out a fraction of the sections at the start and at the end: 0.1 0.2 is the first tenth and the "
        "last fifth",
        "none",
    )
    order: Literal["auto", "file", "tilt"] = _option(
        "auto",
        kinds.choice("auto", "file", "tilt"),
        "sections",
        "show a tilt series by increasing tilt angle (tilt), as in the file (file), or by tilt where the file jumps to "
        "and fro (auto); discards count in the order shown",
    )
    dataset: str | None = _option(
        None,
        kinds.text("PATH"),
        "sections",
        "show this data set of an HDF5 file, or what is below this path, such as /Data/Image",
        "the largest stack of images",
    )
    every: int = _option(
        1,
        kinds.number(int, 1, 1_000_000, "N"),
        "sections",
        "show one section in N, beginning with the first that the discards leave",
    )
    axis: Literal["z", "y", "x"] = _option(
        "z",
        kinds.choice("z", "y", "x"),
        "sections",
        "show the planes along this axis: z the sections of the file, y the planes (z, x), x the planes (z, y), both "
        "with z upward; all that counts sections then counts these (y and x need room beside the movie, for a "
        "temporary file as large as the planes shown)",
    )
    range: str = _option(
        "auto",
        Kind(
            kinds.grey_rule,
            "auto, minmax, percentile:P,Q (0 <= P < Q <= 100), sigma:K, mad:K (0 < K <= 1000000) or LOW,HIGH "
            "(LOW < HIGH)",
            "RULE",
            words={rule: rule for rule in kinds.GREY_RULES},
        ),
        "picture",
        "what becomes black and white: auto, minmax, percentile:P,Q, sigma:K (mean -/+ K standard deviations), "
        "mad:K (median -/+ K robust ones) or LOW,HIGH (-50,200); auto leaves out one voxel in a thousand at each end "
        "of noisy data, more where gold stretches them, and shows what is sparse whole",
    )
    scale: Literal["auto", "linear", "log", "sqrt"] = _option(
        "auto",
        kinds.choice("auto", "linear", "log", "sqrt"),
        "picture",
        "show voxels as they are (linear), as log(1 + voxel), or as their square root; auto takes log for the patterns "
        "of a scan where a few per cent of the pixels hold most of the intensity",
    )
    match_mean: bool = _option(
        False,
        kinds.flag(),
        "picture",
        "shift the voxels of every section so that its mean is that of all: tilt series darken at high tilt",
    )
    invert: bool = _option(False, kinds.flag(), "picture", "show black as white and white as black")
    clip_limit: float = _option(
        2.0,
        kinds.number(float, 0, 1000, "LIMIT"),
        "picture",
        "how much local contrast (CLAHE) may amplify; 0 switches it off",
    )
    tile_grid_size: int = _option(
        8,
        kinds.number(int, 1, 256, "N"),
        "picture",
        "local contrast works on N x N tiles of the picture",
        "8, fewer where a tile would have less than 64 pixels a side, and no local contrast where no two fit",
    )
    mode0: Literal["auto", "signed", "unsigned"] = _option(
        "auto",
        kinds.choice("auto", "signed", "unsigned"),
        "picture",
        "whether 8-bit voxels (mode 0) are signed; programs differ, and auto does as IMOD does",
    )
    flip: Literal["auto", "yes", "no"] = _option(
        "auto",
        kinds.choice("auto", "yes", "no"),
        "picture",
        "row 0 of the file at the bottom of the picture as in 3dmod (yes), at the top (no), or as files of this "
        "kind have it (auto)",
    )
    crop: tuple[int, int, int, int] | None = _option(
        None,
        Kind(kinds.crop, "four whole numbers, X and Y from 0 and W and H from 1 on", ("X", "Y", "W", "H")),
        "picture",
        "show W x H voxels only, from column X and row Y on; both count from 0 at the lower left of the picture, as "
        "3dmod's option -x and -y do",
        "all of each section",
    )
    max_size: int | None = _option(
        None,
        kinds.number(int, 1, 65535, "PIXELS"),
        "picture",
        "make larger pictures smaller, so that their long side is this many pixels: each pixel becomes the mean of "
        "the area that it covers",
        "every pixel of the file",
    )
    average: int = _option(
        1,
        kinds.number(int, 1, 1000, "N"),
        "picture",
        "show running means of N neighbouring sections (of those that the discards leave, in the order shown; fewer at "
        "the ends), which takes noise away: 5 is usual for tomograms",
    )
    bin: int = _option(
        1,
        kinds.number(int, 1, 1024, "N"),
        "picture",
        "make the picture N times smaller: each pixel becomes the mean of N x N voxels, and rows and columns at the "
        "end that fill none are left out",
    )
    bin_method: Literal["mean", "max"] = _option(
        "mean",
        kinds.choice("mean", "max"),
        "picture",
        "what becomes of the N x N voxels of --bin: their mean, or the largest",
    )
    lowpass: float | None = _option(
        None,
        kinds.number(float, 0.1, 1_000_000, "ANGSTROM"),
        "picture",
        "smooth each section with a Gaussian that leaves half of the amplitude at this resolution, in Angstrom; needs "
        "a voxel size",
        "no smoothing",
    )
    smooth: float | None = _option(
        None,
        kinds.number(float, 0, 100, "PIXELS"),
        "picture",
        "smooth each section with a Gaussian of this standard deviation in pixels, after --bin and --max-size; 0 is "
        "none",
        "no smoothing",
    )
    deconv: bool = _option(
        False,
        kinds.flag(),
        "picture",
        "undo the contrast transfer of the microscope in each section, with the Wiener filter of Warp and IsoNet, "
        "which makes tomograms clearer; needs a voxel size",
    )
    defocus: float | None = _option(
        None,
        kinds.number(float, 0.1, 30, "MICROMETRES"),
        "picture",
        "the under-focus for --deconv; 1 µm more or less hardly matters",
        "what the file or its sidecar says, else 4",
    )
    deconv_strength: float = _option(
        1.0, kinds.number(float, 0, 3, "S"), "picture", "for --deconv: the signal-to-noise ratio is 10^(3 S) at first"
    )
    deconv_falloff: float = _option(
        1.0, kinds.number(float, 0, 10, "F"), "picture", "for --deconv: how fast the signal-to-noise ratio falls"
    )
    deconv_highpass: float = _option(
        300.0,
        kinds.number(float, 1, 1_000_000, "ANGSTROM"),
        "picture",
        "for --deconv: waves longer than this are damped",
    )
    min_size: int | None = _option(
        None,
        kinds.number(int, 1, 4096, "PIXELS"),
        "picture",
        "enlarge smaller pictures by a whole factor, so that their long side is at least this many pixels",
        "pixel by pixel",
    )
    pixel_size: float | None = _option(
        None,
        kinds.number(float, 0.001, 1_000_000, "ANGSTROM"),
        "picture",
        "the side of a voxel in Angstrom, where the file has none or a wrong one",
        "what the file says",
    )
    view: Literal["section", "ortho"] = _option(
        "section",
        kinds.choice("section", "ortho"),
        "layout",
        "ortho shows the volume from three directions: beside the moving section its middle from the side, each the "
        "mean of a slab as thick as --average sections, with crosshairs, a scale bar and the thickness",
    )
    compare: str | None = _option(
        None,
        kinds.text("DIR"),
        "layout",
        "show the volume of the same name in DIR, such as a denoised one, at the right: the same section by its depth, "
        "scaled where it is binned, each in its own greys",
        "none",
    )
    label: str | None = _option(
        None,
        Kind(
            kinds.labels,
            f"none, or some of {', '.join(kinds.LABELS)}, with commas between",
            "LABELS",
            words=_LABEL_WORDS,
        ),
        "labels",
        "write into the upper left corner: tilt (the angle in degrees), section (its number, counted from 0 as in the "
        "file), depth (in nm from section 0), time (since the first, by the mdoc, the exposures or the rate of the "
        "detector), name (of the file), or several such as tilt,section",
        "none",
    )
    scale_bar: bool = _option(
        False,
        kinds.flag(),
        "labels",
        "draw a scale bar of a round length into the lower right corner; needs a voxel size",
    )
    points: str | None = _option(
        None,
        kinds.text("FILE"),
        "labels",
        "draw the points in FILE as circles, the sections of spheres: RELION .star, Dynamo .tbl, IMOD .mod, cryoET "
        "portal .ndjson, EMAN2 .json and .box, or .csv, .txt and .coords with x, y and z; {name} in it stands for the "
        "name of each tomogram, * for any letters",
        "none",
    )
    point_diameter: float | None = _option(
        None,
        kinds.number(float, 0.1, 1_000_000, "ANGSTROM"),
        "labels",
        "the diameter of the spheres around points",
        "what FILE says, else 200 Angstrom, or 16 voxels where no voxel size is known",
    )
    point_unit: str = _option(
        "auto",
        Kind(
            kinds.point_unit,
            f"one of {', '.join(kinds.POINT_UNITS)}, or the size of a pixel in Angstrom",
            "UNIT",
            words={unit: unit for unit in kinds.POINT_UNITS},
        ),
        "labels",
        "what the coordinates of points count: auto as the format has it, voxels or angstrom from the first voxel, "
        "centred-voxels or centred-angstrom from the middle, zyx for voxels with z first, or a number: pixels of so "
        "many Angstrom, such as unbinned ones",
    )
    model: str | None = _option(
        None,
        kinds.text("FILE"),
        "labels",
        "draw the IMOD model in FILE in the colours of its objects: contours, the cuts of meshes, scattered points as "
        "spheres; {name} and * as for --points",
        "none",
    )
    mask: str | None = _option(
        None,
        kinds.text("FILE"),
        "labels",
        "draw the segmentation in FILE: labels, one feature a file (such as '{name}__*.mrc'), or probabilities; as "
        "large as the volume or binned; {name} and * as for --points",
        "none",
    )
    mask_threshold: float | None = _option(
        None,
        kinds.number(float, -1e9, 1e9, "VALUE"),
        "labels",
        "for --mask: what is more than this is in the feature, whatever the values",
        "labels above 0 where all values are whole numbers, else 0.5",
    )
    image_dir: str | None = _option(
        None,
        kinds.text("DIR"),
        "collections",
        "where the images lie, by their bare names, that a collection names: a .star of RELION, a .cs of cryoSPARC, an "
        ".mdoc of single images",
        "as the collection names them, from its directory or one above it",
    )
    iterations: bool = _option(
        False,
        kinds.flag(),
        "collections",
        "a movie of the iterations of a 2D classification up to that of INPUT (such as run_it025_model.star, "
        "run_it025_classes.mrcs or J5_020_class_averages.mrc): all class averages side by side, each in its place",
    )
    navigation_shape: tuple[int, int] | None = _option(
        None,
        Kind(kinds.positions, "two whole numbers from 1 to 65535", ("X", "Y")),
        "collections",
        "the sections are the patterns of a scan of X positions a line and Y lines: --label section writes the "
        "position, and --virtual makes images of it",
        "what Direct Electron's _info.txt or Velox's header says",
    )
    scan_path: Literal["raster", "serpentine"] = _option(
        "raster",
        kinds.choice("raster", "serpentine"),
        "collections",
        "for --navigation-shape: every line of the scan runs from left to right, or every second one backward",
    )
    thumbnail: int | None = _option(
        None,
        Kind(kinds.thumbnail, "a whole number from 16 to 4096", "[SIZE]", alone=str(kinds.THUMBNAIL_SIZE)),
        "beside the movie",
        "also write the middle section, its long side SIZE pixels at most, as MOVIE.png (a.png beside a.avi); "
        f"{kinds.THUMBNAIL_SIZE} without SIZE",
        "none",
    )
    contact_sheet: bool = _option(
        False,
        kinds.flag(),
        "beside the movie",
        "also write up to 20 evenly spaced sections with their tilts or numbers as one picture, MOVIE.contact.png; of "
        "particles and class averages up to 200, those of the largest class first where classes are known",
    )
    volume: Literal["averaged", "binned"] | None = _option(
        None,
        kinds.choice("averaged", "binned"),
        "beside the movie",
        "also write the sections shown as a volume, MOVIE.averaged.mrc or MOVIE.binned.mrc, before they become grey: "
        "averaged, as they are prepared for the movie (running means of --average sections), or binned, as means of "
        "--bin sections as well",
        "none",
    )
    volume_format: Literal["mrc", "mrcz", "zarr"] = _option(
        "mrc",
        kinds.choice("mrc", "mrcz", "zarr"),
        "beside the movie",
        "how --volume is written: mrc (MRC2014), mrcz (compressed; needs mrc2movie[mrcz]) or zarr (OME-Zarr, a "
        "directory, in several resolutions; needs mrc2movie[zarr])",
    )
    zarr_version: Literal["0.5", "0.4"] = _option(
        "0.5",
        kinds.choice("0.5", "0.4"),
        "beside the movie",
        "the version of OME-Zarr: 0.5 (Zarr 3) or 0.4 (Zarr 2), for older viewers",
    )
    virtual: bool = _option(
        False,
        kinds.flag(),
        "beside the movie",
        "of a scan also write virtual images, as MRC and PNG in the directory MOVIE.virtual: the sum, bright field and "
        "annular dark field with masks from the mean pattern, and the path of the centre of mass",
    )
    stacks: bool = _option(
        False,
        kinds.flag(),
        "beside the movie",
        "also restack the images shown, before they become grey: MOVIE.stacks is a directory of .mrcs stacks, each "
        "with a .star and a .npz of what is known of its images, their power spectrum and a sheet of them",
    )
    batch_size: int = _option(
        1000, kinds.number(int, 1, 1_000_000, "N"), "beside the movie", "for --stacks: images of a stack at most"
    )
    no_combine: bool = _option(
        False, kinds.flag(), "beside the movie", "for --stacks: no stack holds images of two files"
    )
    max_stacks: int | None = _option(
        None, kinds.number(int, 1, 1_000_000, "N"), "beside the movie", "for --stacks: so many at most", "all"
    )
    normalize_each: bool = _option(
        False,
        kinds.flag(),
        "beside the movie",
        "for --stacks: each image with mean 0 and standard deviation 1 outside a disc, as RELION extracts particles",
    )
    fourier: bool = _option(
        False,
        kinds.flag(),
        "beside the movie",
        "for --stacks: also each stack in Fourier space, a .npy file of complex64, centred and unitary",
    )
    report: bool = _option(
        False,
        kinds.flag(),
        "beside the movie",
        "also write OUTPUT_DIR/index.html, a page of all movies to look through, mark and sort out in a browser",
    )
    recursive: bool = _option(
        False, kinds.flag(), "batch", "also convert the files of all sub-directories, mirrored in OUTPUT_DIR"
    )
    pattern: str | None = _option(
        None,
        kinds.text("GLOB"),
        "batch",
        "convert the files whose name matches, such as '*_rec.mrc'",
        "the usual names of the formats that are read",
    )
    shard: str | None = _option(
        None,
        Kind(kinds.shard, "I/N with 1 <= I <= N, or slurm", "I/N|slurm", words={"slurm": "slurm"}),
        "batch",
        "convert only share I of N of the files: shares of about equal size, for N nodes that begin the same command; "
        "slurm takes I and N from the task of a job array",
        "all files",
    )
    scheduler: str | None = _option(
        None,
        kinds.text("ADDRESS"),
        "batch",
        "let the workers of the Dask scheduler at ADDRESS (tcp://HOST:PORT) convert the files, each file a task, the "
        "largest first; they need this package and the same paths",
        "this machine",
    )
    watch: float | None = _option(
        None,
        Kind(
            kinds.watch,
            f"a number of seconds from 0.1 to {kinds.MOST_SECONDS}",
            "[SECONDS]",
            alone=str(kinds.WATCH_SECONDS),
        ),
        "batch",
        "go on and convert files as they arrive: each when it has not changed for SECONDS and is whole by its header "
        f"and its mdoc, and anew when it changes; {kinds.WATCH_SECONDS} without SECONDS; Ctrl-C ends it",
        "off",
    )
    watch_until: float | None = _option(
        None,
        kinds.number(float, 0, kinds.MOST_SECONDS, "SECONDS"),
        "batch",
        "with --watch: end when nothing new has arrived for so long",
        "Ctrl-C",
    )
    overwrite: bool = _option(
        False,
        kinds.flag(),
        "batch",
        "make every movie anew, and replace files that are not ours, but for volumes: those may be data",
    )
    dry_run: bool = _option(False, kinds.flag(), "batch", "say what would be done for each file, and touch nothing")
    jobs: int | None = _option(
        None,
        kinds.number(int, 1, 1024, "N"),
        "batch",
        "worker threads",
        "the processors that this process may use",
    )
    manifest: str | None = _option(
        None,
        kinds.text("FILE"),
        "batch",
        "at the end, write what became of all inputs to FILE, as JSON for pipelines",
        "none",
    )
    callback: str | None = _option(
        None,
        Kind(kinds.http_url, "an http or https address without a user or password", "URL"),
        "batch",
        "at the end, send this JSON to URL (POST), with a bearer token from the environment variable "
        f"{TOKEN_VARIABLE}, where it is set",
        "none",
    )
    quiet: bool = _option(False, kinds.flag(), "messages", "only warnings and errors", short="-q")
    verbose: bool = _option(
        False,
        kinds.flag(),
        "messages",
        "more about each file, seconds a stage, and a traceback where one helps",
        short="-v",
    )
    log: str | None = _option(None, kinds.text("FILE"), "messages", "append the log to FILE", f"OUTPUT_DIR/{LOG_NAME}")

    given: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)
    """The options that were given explicitly, even if with their default: these win over a preset."""

    def __post_init__(self) -> None:
        """Coerce and check every field against its kind, and fill in what the preset stands for."""
        for option in OPTIONS:
            value = getattr(self, option.name)
            if value is None and option.default is None:
                continue
            try:
                object.__setattr__(self, option.name, option.kind.parse(value))
            except (ValueError, TypeError, OverflowError):
                shown = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
                near = option.kind.nearest(value)
                advice = f"did you mean {near}?" if near else ""
                raise UsageError(f"{option.flag} {shown}: must be {option.kind.allowed}", advice) from None
        for name, value in self._from_preset().items():
            object.__setattr__(self, name, value)
        choosing = [f"--{name.replace('_', '-')}" for name in _CHOOSING if getattr(self, name)]
        if len(choosing) > 1:
            raise UsageError(f"{' and '.join(choosing)} cannot be combined", "give one of them")
        if self.watch_until is not None and self.watch is None:
            raise UsageError("--watch-until is for --watch", "give --watch as well")
        if self.watch is not None and self.dry_run:
            raise UsageError("--watch and --dry-run contradict each other", "give one of them")
        if self.watch is not None and self.shard:
            what = "--watch and --shard cannot be combined: a directory that grows has no lasting shares"
            raise UsageError(what, "several runs with --watch make each movie once")
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose contradict each other", "give one of them")

        if self.volume == "binned" and self.bin_method == "max":
            raise UsageError("--volume binned and --bin-method max contradict each other", "give one of them")
        if self.compare and self.view != "section":
            raise UsageError("--compare and --view ortho cannot be combined", "give one of them")

        codec, container = choose(self.codec, self.format, self.small)
        object.__setattr__(self, "codec", codec)
        object.__setattr__(self, "format", container)
        if self.small:
            require_small(codec)

    def with_preset(self, preset: Literal["tilt", "tomogram"]) -> "Settings":
        """The options that were given, with this preset."""
        return Settings(**{**self.given, "preset": preset})  # type: ignore[arg-type]

    def with_absolute_paths(self) -> "Settings":
        """The same options for a process in another directory; names with wildcards and ``{name}`` are paths, too."""
        paths = {
            option.name: getattr(self, option.name) for option in OPTIONS if option.kind.metavar in ("FILE", "DIR")
        }
        absolute: dict[str, Any] = {name: str(Path(path).absolute()) for name, path in paths.items() if path}
        return replace(self, **absolute)

    def _from_preset(self) -> Mapping[str, object]:
        """The preset's values for what was not given; no container that cannot hold the codec that was given."""
        if self.preset is None:
            return {}
        values = AUTO_PRESET if self.preset == "auto" else PRESETS[self.preset]
        fits = self.codec is None or values["format"] in find_codec(self.codec).formats
        return {name: value for name, value in values.items() if name not in self.given and (name != "format" or fits)}

    def command_line(self) -> str:
        """The options that shape the movie and are not the default, as they would be typed.

        A preset is not among them, but the options that it stands for are.
        """
        return as_typed({option.name: getattr(self, option.name) for option in OPTIONS})

    def movie_options(self) -> dict[str, object]:
        """The options that shape the movie, as JSON has them: what the record keeps and compares.

        With the preset ``auto`` they include which options were given, since these win over the preset found later.
        """
        values = {option.name: getattr(self, option.name) for option in OPTIONS if option.group in MOVIE_GROUPS}
        if self.preset == "auto":
            values["given"] = tuple(
                sorted(self.given.keys() & {name for preset in PRESETS.values() for name in preset})
            )
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _options() -> Sequence[Option]:
    return tuple(
        Option(
            name=declared.name,
            default=declared.default,
            **{**declared.metadata, "default_text": declared.metadata["default_text"] or str(declared.default)},
        )
        for declared in fields(Settings)
        if declared.metadata
    )


OPTIONS: Sequence[Option] = _options()
"""All options, in the order of the help."""


def as_typed(values: Mapping[str, object]) -> str:
    """The options that shape the movie and are not the default, as they would be typed; no preset.

    Args:
        values: Of the options, by their names; also as JSON has them.
    """
    words = []
    for option in OPTIONS:
        value = values.get(option.name, option.default)
        if option.group not in MOVIE_GROUPS or value == option.default or option.name == "preset":
            continue
        if isinstance(value, bool):
            words.append(option.flag)
        elif isinstance(value, (tuple, list)):
            words.append(" ".join([option.flag, *map(str, value)]))
        else:
            words.append(f"{option.flag}={value}")
    return " ".join(words)
