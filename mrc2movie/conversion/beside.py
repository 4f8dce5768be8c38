"""What lies beside one movie: pictures, those for the page, a volume, stacks, and images of a scan."""

from collections.abc import Sequence
from contextlib import ExitStack

from mrc2movie.conversion.sections import PreparedSections, SectionProgress
from mrc2movie.conversion.stacks import StacksBeside, require_stacks
from mrc2movie.conversion.thumbnail import pictures_of
from mrc2movie.conversion.virtual import require_scan, virtual_images
from mrc2movie.conversion.volumes import VolumeBeside, require_volume
from mrc2movie.options.settings import Settings
from mrc2movie.picture.greys import GreyRange
from mrc2movie.readers.volume import Description, Volume
from mrc2movie.store.artifact import HiddenArtifact
from mrc2movie.store.claim import Claim
from mrc2movie.writers.product import Product
from mrc2movie.writers.sheet import PagePictures
from mrc2movie.writers.stills import Stills, write_pictures


def require_beside(description: Description, settings: Settings) -> None:
    """Refuse what cannot be made beside the movie.

    Raises:
        InputError: The file is nothing that it can be made of.
    """
    require_volume(description, settings)
    require_stacks(description, settings)
    require_scan(description, settings)


class Beside:
    """What is made beside one movie.

    Args:
        file: The volume as it is stored.
        sections: Those that the movie shows.
        settings: All options.
        grey_range: What the movie shows as black and white.
        claim: Of the movie.
        opened: Closes what is open, after the threads have ended.

    Attributes:
        products: What is made of the sections as they pass by.
        warnings: What the user should know.

    Raises:
        Mrc2movieError: It cannot be begun.
    """

    def __init__(
        self,
        file: Volume,
        sections: PreparedSections,
        settings: Settings,
        grey_range: GreyRange,
        claim: Claim,
        opened: ExitStack,
    ) -> None:
        self._file, self._sections, self._settings, self._claim = file, sections, settings, claim
        self._stills = Stills(settings.thumbnail, settings.contact_sheet, sections.description, sections.selection)
        self._for_page = (PagePictures(len(sections.selection.places)),) if settings.report else ()
        self._volume = VolumeBeside(sections, settings, grey_range, claim, opened)
        self._stacks = StacksBeside(sections, settings, claim, opened)
        self.products: tuple[Product, ...] = (
            self._stills,
            *self._for_page,
            *self._volume.products,
            *self._stacks.products,
        )
        self.warnings = self._volume.warnings

    def made(self, progress: SectionProgress) -> Sequence[HiddenArtifact]:
        """What is finished when all sections have passed by, under hidden names.

        Args:
            progress: Called after each pattern of a scan, over which virtual images need a pass of their own.

        Raises:
            Mrc2movieError: It cannot be written.
        """
        claim, settings, sections = self._claim, self._settings, self._sections
        pictures = pictures_of(self._stills, sections.description, settings)
        return [
            *write_pictures(pictures, claim, settings),
            *self._volume.made(),
            *self._stacks.made(),
            *virtual_images(self._file, settings, claim, sections.workers, progress, sections.watch),
            *(picture for pictures in self._for_page for picture in pictures.write(claim)),
        ]
