import '../../theme/tokens.css';
import '../../contribute/contribute-page.ts';
